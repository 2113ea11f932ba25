"""The modules that scripts/compile makes write the same event logs as the sources, byte for byte."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.simulator.test_world import fingerprint, logged

from goodspeed.testing.scenarios import POLICIES, TROUBLED, fleet

ROOT = Path(__file__).parents[2]
COMPILED = ROOT / "build" / "compiled"
SCENARIOS = {"troubled": TROUBLED, **{policy: fleet(20, 2.0, policy) for policy in POLICIES}}


def is_up_to_date() -> bool:
    """Whether neither a source nor the list of the compiled modules is newer than a compiled module."""
    made = list((COMPILED / "goodspeed").rglob("*.so"))
    listed_s = (ROOT / "scripts" / "compile").stat().st_mtime
    return bool(made) and all(
        path.stat().st_mtime > max(listed_s, path.with_name(path.name.split(".")[0] + ".py").stat().st_mtime)
        for path in made
    )


needs_compiled = pytest.mark.skipif(
    not is_up_to_date(), reason="build/compiled is missing or older than the sources: run ./scripts/compile"
)


@needs_compiled
def test_compiled_modules_write_the_same_logs(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; import goodspeed.simulator.kernel as kernel; "
        "from tests.simulator.test_compiled import SCENARIOS, logged; "
        "assert not kernel.__file__.endswith('.py'); "
        f"[logged(scenario, Path({str(tmp_path)!r}) / 'compiled' / name) for name, scenario in SCENARIOS.items()]"
    )
    environment = {**os.environ, "PYTHONPATH": str(COMPILED)}
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, env=environment)
    for name, scenario in SCENARIOS.items():
        logged(scenario, tmp_path / "interpreted" / name)
        assert fingerprint(tmp_path / "compiled" / name) == fingerprint(tmp_path / "interpreted" / name), name

"""The modules that scripts/compile makes write the same event logs as the sources, byte for byte; their drafts too."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.simulator.test_world import fingerprint, logged

from goodspeed.decoding.draft import DraftRequest
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.calibration import Calibration
from goodspeed.engine.hybrid import DraftKnowledge, HybridDraft
from goodspeed.engine.lookup import LookupSource
from goodspeed.engine.ngram_table import NGramSource, NGramTable
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


def hybrid_drafts() -> list[tuple[tuple[int, ...], tuple[float, ...]]]:
    """Tokens and confidences of every draft for a text that repeats itself, with a table that has to evict."""
    rng = np.random.default_rng(0)
    phrases = rng.integers(1, 40_000, (12, 9)).tolist()
    text = [token for which in rng.integers(0, 12, 80) for token in phrases[which][: rng.integers(3, 10)]]
    knowledge = DraftKnowledge([LookupSource(), NGramSource(NGramTable(64, NGramTable(256)))], Calibration())
    engine, drafts = HybridDraft(knowledge), []
    engine.open(1, text[:20], Sampling())
    for start in range(20, len(text) - 8, 3):
        (draft,) = engine.draft([DraftRequest(1, 8, 0.02)])
        drafts.append((draft.tokens, draft.confidences))
        engine.commit(1, text[start : start + 3])
    return drafts


needs_compiled = pytest.mark.skipif(
    not is_up_to_date(), reason="build/compiled is missing or older than the sources: run ./scripts/compile"
)


@needs_compiled
def test_compiled_modules_draft_the_same() -> None:
    program = (
        "import json; import goodspeed.engine.hybrid as hybrid; "
        "from tests.simulator.test_compiled import hybrid_drafts; "
        "assert not hybrid.__file__.endswith('.py'); print(json.dumps(hybrid_drafts()))"
    )
    environment = {**os.environ, "PYTHONPATH": str(COMPILED)}
    done = subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, env=environment, capture_output=True)
    drafts = hybrid_drafts()
    assert json.loads(done.stdout) == json.loads(json.dumps(drafts))
    assert sum(len(tokens) for tokens, _ in drafts) > len(drafts)


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

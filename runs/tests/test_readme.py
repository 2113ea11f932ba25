"""runs/README.md lists every run, and every run explains itself."""

import importlib
import re
import sys
from pathlib import Path

import pytest

RUNS = Path(__file__).parents[1]
README = RUNS / "README.md"
NAMES = sorted(
    [path.stem for path in RUNS.glob("*.py") if path.stem != "__init__"]
    + [path.parent.name for path in RUNS.glob("*/__main__.py")]
)
ROW = re.compile(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \| \[[^]]+\]\(\.\./docs/([\w/.-]+)\) \|$", re.MULTILINE)


def test_readme_lists_every_run_once() -> None:
    assert sorted(name for name, _ in ROW.findall(README.read_text(encoding="utf-8"))) == NAMES


def test_pages_of_the_readme_name_their_run() -> None:
    for name, page in ROW.findall(README.read_text(encoding="utf-8")):
        text = (RUNS.parent / "docs" / page).read_text(encoding="utf-8")
        assert re.search(rf"runs[./]{name}\b", text), f"{page} does not name runs.{name}"


@pytest.mark.parametrize("name", NAMES)
def test_help_explains_the_run(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    is_package = (RUNS / name).is_dir()
    module = importlib.import_module(f"runs.{name}.__main__" if is_package else f"runs.{name}")
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert str(module.__doc__).splitlines()[0] in shown
    assert f"python -m runs.{name}" in shown

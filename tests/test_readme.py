"""The README is true: its commands run, its example prints what it shows, and it is short."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The contents of README's code blocks in that language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_two_commands_are_the_first_ones() -> None:
    commands = [line.split("#")[0].strip() for line in blocks("bash")[0].strip().splitlines()]
    assert commands == ["./scripts/demo", "./scripts/test"]


def test_demo_runs() -> None:
    """`./scripts/test` needs no such test: it is what runs this suite (.ci/run)."""
    done = subprocess.run(
        ["./scripts/demo", "--quick"], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "identical" in done.stdout


def test_example_prints_what_it_shows() -> None:
    (example,) = blocks("python")
    promised = re.findall(r"# -> (.*)", example)
    done = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == promised


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= 120

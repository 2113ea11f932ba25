"""README keeps its word: its commands run, its example prints what it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The contents of README's code blocks in that language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_two_commands_are_the_first_ones() -> None:
    commands = [line.split("#")[0].strip() for line in blocks("bash")[0].strip().splitlines()]
    assert commands == ["./scripts/demo", "./scripts/test"]


@pytest.mark.parametrize(
    ("command", "small", "expected"),
    [
        ("./scripts/demo", ["--quick"], "identical"),
        # The suite within the suite would never end: the checks, and one small file of it.
        ("./scripts/test", ["tests/test_registry.py"], "4 passed"),
    ],
)
def test_command_runs(command: str, small: list[str], expected: str) -> None:
    done = subprocess.run([command, *small], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert expected in done.stdout


def test_example_prints_what_it_says() -> None:
    (example,) = blocks("python")
    promised = re.findall(r"# -> (.*)", example)
    done = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == promised


def test_every_file_that_is_named_exists() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []

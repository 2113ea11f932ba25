"""Runs and tests are separate: neither imports the other. What both need is in `goodspeed.testing`."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def imported(folder: Path) -> Iterator[tuple[Path, str]]:
    """Every module that a file of the folder imports, with the file."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((path, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield path, node.module


@pytest.mark.parametrize(("folder", "other"), [("runs", "tests"), ("tests", "runs"), ("src", "tests"), ("src", "runs")])
def test_a_folder_does_not_import_another(folder: str, other: str) -> None:
    modules = list(imported(ROOT / folder))
    assert modules
    assert [(str(path), module) for path, module in modules if module.split(".")[0] == other] == []

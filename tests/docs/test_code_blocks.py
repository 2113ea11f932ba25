"""Code blocks are valid, and complete ones do what they say."""

import ast
import doctest
import importlib
import json
import tomllib

import pytest
from tests.docs.pages import Block, blocks

from goodspeed.config import from_mapping
from goodspeed.simulator.scenario import scenario_of
from goodspeed.verifier.verifier_config import VerifierConfig

PYTHON = [block for block in blocks("python") if ">>>" not in block.code]
TOML = blocks("toml")


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_parses_and_its_imports_exist(block: Block) -> None:
    for node in ast.walk(ast.parse(block.code)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("goodspeed"):
            module = importlib.import_module(node.module)
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == [], str(block)


@pytest.mark.parametrize("block", [block for block in blocks("python") if ">>>" in block.code], ids=str)
def test_sessions_parse(block: Block) -> None:
    assert doctest.DocTestParser().get_examples(block.code)


@pytest.mark.parametrize("block", TOML, ids=str)
def test_toml_parses_and_its_keys_exist(block: Block) -> None:
    values = tomllib.loads(block.code)
    if set(values) <= {"core", "target", "grpc", "engine", "metrics_port"}:
        from_mapping(VerifierConfig, values)
    elif set(values) <= {"verifiers", "drafters", "duration_s", "routing", "machine", "mode"}:
        scenario_of(_as_lists(values))
    elif set(values) <= {"latency", "acceptance", "workload", "window"}:
        scenario_of({"drafters": [{key: _without_files(value) for key, value in values.items()}]})


def _as_lists(values: dict[str, object]) -> dict[str, object]:
    """A page may show `[verifiers.latency]` by itself, which in a scenario follows `[[verifiers]]`."""
    return {
        key: [value] if isinstance(value, dict) and key in {"verifiers", "drafters"} else value
        for key, value in values.items()
    }


def _without_files(table: dict[str, object]) -> dict[str, object]:
    """Files that a page names are not there."""
    return {
        key: {"distribution": "lognormal"} if isinstance(value, dict) and "empirical" in value else value
        for key, value in table.items()
    }


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_json_parses(block: Block) -> None:
    for line in block.code.strip().splitlines():
        json.loads(line)


def test_there_are_blocks_of_each_kind() -> None:
    assert len(PYTHON) >= 2
    assert len(TOML) >= 6

import tomllib
from pathlib import Path

import pytest

from goodspeed.extras import missing_extra

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_message_names_the_command_and_the_cause() -> None:
    message = missing_extra("a plot", "plots", "No module named 'matplotlib'")
    assert message == "a plot needs the extra 'plots': pip install 'goodspeed[plots]' (No module named 'matplotlib')"
    assert missing_extra("a plot", "plots") == "a plot needs the extra 'plots': pip install 'goodspeed[plots]'"


@pytest.mark.parametrize("extra", ["torch", "vllm", "grammar", "plots", "gpu-tables", "simulator", "ray"])
def test_every_extra_that_a_message_names_exists(extra: str) -> None:
    assert extra in PROJECT["optional-dependencies"]

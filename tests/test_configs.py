"""The example configurations are valid for their components."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from goodspeed.commands.bench import BenchConfig
from goodspeed.commands.demo import DemoConfig
from goodspeed.config import from_mapping, read_toml
from goodspeed.drafter.drafter_config import DrafterConfig
from goodspeed.verifier.verifier_config import VerifierConfig

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

CONFIGS = Path(__file__).parents[1] / "configs"
CONFIG_TYPES: dict[str, type["DataclassInstance"]] = {
    "bench": BenchConfig,
    "demo": DemoConfig,
    "drafter": DrafterConfig,
    "far_drafter": DrafterConfig,
    "verifier": VerifierConfig,
}


def test_every_example_is_known() -> None:
    assert {path.stem for path in CONFIGS.glob("*.toml")} == set(CONFIG_TYPES)


@pytest.mark.parametrize("name", CONFIG_TYPES)
def test_example_is_valid(name: str) -> None:
    path = CONFIGS / f"{name}.toml"
    assert f"--config configs/{name}.toml" in path.read_text(encoding="utf-8"), "it names its command"
    assert isinstance(from_mapping(CONFIG_TYPES[name], read_toml(path)), CONFIG_TYPES[name])

"""The example configurations are what their components understand."""

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
KINDS: dict[str, type["DataclassInstance"]] = {
    "bench": BenchConfig,
    "demo": DemoConfig,
    "drafter": DrafterConfig,
    "far_drafter": DrafterConfig,
    "verifier": VerifierConfig,
}


def test_every_example_is_known() -> None:
    assert {path.stem for path in CONFIGS.glob("*.toml")} == set(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_example_is_understood(name: str) -> None:
    path = CONFIGS / f"{name}.toml"
    assert f"--config configs/{name}.toml" in path.read_text(encoding="utf-8"), "it says how it is used"
    assert isinstance(from_mapping(KINDS[name], read_toml(path)), KINDS[name])

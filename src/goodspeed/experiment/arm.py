"""What the experiments run: the simulator's own scenarios."""

from collections.abc import Mapping
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

from goodspeed.config import read_toml
from goodspeed.experiment.replication import Measure
from goodspeed.simulator.scenario import Scenario
from goodspeed.simulator.world import simulate


def scenario_values(path: Path, until_s: float) -> dict[str, Any]:
    """A file's values, cut or stretched to `until_s` if that is not 0. Raises ConfigError."""
    values = read_toml(path)
    return values | {"duration_s": until_s} if until_s else values


def measure(num_traced: int = 0) -> Measure[Scenario]:
    """Of scenarios."""
    return Measure(partial(simulate, num_traced=num_traced), attrgetter("clients"))


def name_of(values: Mapping[str, Any], path: Path) -> str:
    """For reports."""
    return str(values.get("name") or path.stem)

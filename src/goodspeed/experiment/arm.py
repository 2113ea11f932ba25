"""The scenarios that experiments run."""

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
    """A scenario file's values, with a duration of `until_s` unless that is 0. Raises ConfigError."""
    values = read_toml(path)
    return values | {"duration_s": until_s} if until_s else values


def measure(num_traced: int = 0) -> Measure[Scenario]:
    """Makes replications of scenarios; `num_traced`: requests whose spans are recorded."""
    return Measure(partial(simulate, num_traced=num_traced), attrgetter("clients"))


def name_of(values: Mapping[str, Any], path: Path) -> str:
    """The scenario's name in reports."""
    return str(values.get("name") or path.stem)

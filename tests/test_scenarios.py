"""The example scenarios are valid, name their command, and run."""

from dataclasses import replace
from pathlib import Path

import pytest

from goodspeed.simulator.scenario import read_scenario
from goodspeed.simulator.world import simulate

SCENARIOS = sorted((Path(__file__).parents[1] / "configs" / "scenarios").glob("*.toml"))
NUM_CLIENTS_AND_DURATION = {
    "capacity_70b_h100": (360, 0.5),
    "capacity_8b_h100": (720, 0.4),
    "demo": (4, 5.0),
    "dsd_1000": (1000, 0.4),
    "dsd_600": (600, 0.5),
    "goodspeed_n4": (4, 5.0),
    "goodspeed_n8": (8, 4.0),
    "home_lab": (5, 20.0),
    "phone_fleet": (240, 1.5),
    "three_links": (12, 2.0),
}
"""Number of clients, and simulated seconds of a run that takes a moment only."""


def test_every_example_is_known() -> None:
    assert {path.stem: len(read_scenario(path).clients) for path in SCENARIOS} == {
        name: num_clients for name, (num_clients, _) in NUM_CLIENTS_AND_DURATION.items()
    }


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_example_names_its_command_and_runs(path: Path) -> None:
    assert f"goodspeed simulate configs/scenarios/{path.name}" in path.read_text(encoding="utf-8")
    _, duration_s = NUM_CLIENTS_AND_DURATION[path.stem]
    run = simulate(replace(read_scenario(path), duration_s=duration_s), seed=0)
    assert run.num_rounds > 20
    assert run.num_failed == 0
    assert sum(verifier.busy_s for verifier in run.verifiers) > 0.0

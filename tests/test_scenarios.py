"""The example scenarios are understood, say how they are used, and run."""

from dataclasses import replace
from pathlib import Path

import pytest

from goodspeed.simulator.experiment.figures import figures
from goodspeed.simulator.scenario import Scenario, read_scenario
from goodspeed.simulator.world import simulate

SCENARIOS = sorted((Path(__file__).parents[1] / "configs" / "scenarios").glob("*.toml"))
CLIENTS = {
    "demo": 4,
    "dsd_1000": 1000,
    "dsd_600": 600,
    "goodspeed_n4": 4,
    "goodspeed_n8": 8,
    "home_lab": 5,
    "phone_fleet": 240,
}
BRIEF_ROUNDS = 300
"""About so many: a moment of a large scenario, some seconds of a small one."""


def _brief(scenario: Scenario) -> Scenario:
    seconds = max(0.6, BRIEF_ROUNDS / (5 * len(scenario.clients)))
    return replace(scenario, duration_s=min(scenario.duration_s, seconds))


def test_every_example_is_known() -> None:
    assert {path.stem: len(read_scenario(path).clients) for path in SCENARIOS} == CLIENTS


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_example_says_how_it_is_used_and_runs(path: Path) -> None:
    assert f"goodspeed simulate configs/scenarios/{path.name}" in path.read_text(encoding="utf-8")
    run = simulate(_brief(read_scenario(path)), seed=0)
    assert run.num_rounds > 20
    assert run.num_failed == 0
    assert figures(run, 0.0).values["utilisation"] > 0.0

"""The set-ups of DSD's experiments are valid and change what they say; the oracle does not see its own seed."""

import math
from pathlib import Path

import pytest
from runs.dsd.arms import ARMS, DEFAULT, STATIC_4, TARGET_ONLY, apply, arms_of
from runs.dsd.cells import Cell
from runs.dsd.setups import CHANGES, FAMILIES, Extent, Setup, base_values
from runs.dsd.tables import ORACLE, crossover, grouped, poorest

from goodspeed.simulator.scenario import Scenario, scenario_of


def scenario(setup: Setup, arm: str, folder: Path, family: str = "configurations", scale: int = 5) -> Scenario:
    values = base_values(setup, Extent(scale, 12.0, folder))
    apply(arms_of(family)[arm], values, setup.num_drafters / 20)
    return scenario_of(values)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_arm_of_every_set_up_is_a_valid_scenario(family: str, tmp_path: Path) -> None:
    for setup in FAMILIES[family]:
        for arm in arms_of(family):
            scenario(setup, arm, tmp_path, family)


def test_a_part_of_the_fleet_has_the_same_load_on_each_verifier(tmp_path: Path) -> None:
    counts = {}
    for scale in (1, 5):
        parts = scenario(Setup("GSM8K", 1000, 10.0), DEFAULT, tmp_path, scale=scale)
        num_verifiers = sum(tier.count for tier in parts.verifiers)
        counts[scale] = (num_verifiers, sum(tier.count for tier in parts.drafters) / num_verifiers)
    assert counts == {1: (20, 50.0), 5: (4, 50.0)}


def test_each_change_changes_its_own_part_of_the_scenario(tmp_path: Path) -> None:
    rtt, load, domain = (scenario(setup, TARGET_ONLY, tmp_path) for setup in CHANGES)
    assert Path(rtt.drafters[0].link.trace_file).read_text(encoding="utf-8").splitlines()[1:] == [
        "0,10.0,0,0",
        "6.0,60.0,0,0",
    ]
    starts = {tier.name: (tier.count, tier.workload.closed.start_s) for tier in load.drafters}
    assert starts["7b-a40"] == (24, 0.0)
    assert starts["7b-a40-late"] == (24, 6.0)
    assert domain.drafters[0].acceptance.drifting.rates == (0.85, 0.5)


def test_arms_differ_in_what_they_name(tmp_path: Path) -> None:
    setup = Setup("HumanEval", 600, 30.0)
    static, default, exact = (scenario(setup, arm, tmp_path) for arm in (STATIC_4, DEFAULT, "clairvoyant, default"))
    assert (static.verifiers[0].core.scheduler, static.verifiers[0].core.budget) == ("fixed", 12 * 30)
    assert static.drafters[0].co_located_acceptance is None
    assert (default.verifiers[0].core.scheduler, default.verifiers[0].core.budget) == ("time_aware", 0)
    assert default.drafters[0].co_located_acceptance is not None
    assert exact.drafters[0].acceptance.confidence.is_exact
    assert not default.drafters[0].acceptance.confidence.is_exact


def cell(arm: str, seed: int, tokens_per_s: float, setup: str = "set-up", **goodputs: float) -> Cell:
    named = {name.replace("_", "-"): value for name, value in goodputs.items()}
    return Cell("family", setup, arm, seed, tokens_per_s, named, [0.01], [0.1], 1, 1, 0, 0, (1.0, 0.0, 0.0), 2.0, 0.5)


def test_the_oracle_chooses_on_the_other_seeds() -> None:
    """Window 2 is far better on seed 0 alone, so it is chosen for seeds 1 and 2 and not for seed 0."""
    speeds = {"static 2": (200.0, 90.0, 90.0), "static 4": (100.0, 100.0, 100.0)}
    cells = [cell(arm, seed, value) for arm, values in speeds.items() for seed, value in enumerate(values)]
    oracle = grouped(cells)["set-up"][ORACLE]
    assert {seed: found.tokens_per_s for seed, found in oracle.items()} == {0: 100.0, 1: 90.0, 2: 90.0}


def test_there_is_no_oracle_from_one_seed() -> None:
    assert ORACLE not in grouped([cell("static 2", 0, 1.0)])["set-up"]


def test_the_crossover_is_interpolated_by_seed() -> None:
    cells = []
    for seed, at_30 in enumerate((0.8, 0.8)):
        for rtt_ms, ratio in ((10, 1.25), (30, at_30), (60, 0.5)):
            name = f"GSM8K, 600 drafters, {rtt_ms} ms"
            cells += [cell(TARGET_ONLY, seed, 100.0, name), cell(STATIC_4, seed, 100.0 * ratio, name)]
    assert crossover(grouped(cells)) == "20.0 ± 0.0 ms"
    assert crossover(grouped(cells[4:6] + cells[10:])) == "none from 60 ms on in 2 of 2 seeds"


def test_the_poorest_tier_is_a_mean_over_its_clients() -> None:
    found = {0: cell("a", 0, 1.0, a_x_0=1.0, a_x_1=4.0, b_0=1.5)}
    base = {0: cell("b", 0, 1.0, a_x_0=1.0, a_x_1=1.0, b_0=1.0)}
    assert poorest(found, base) == pytest.approx(1.5)
    assert math.isfinite(poorest(found, base))
    assert set(ARMS) > {TARGET_ONLY, DEFAULT}

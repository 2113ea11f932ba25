"""The comparison of arms by client and seed."""

import math

import pytest
from runs.co_located_modes import ModeCell, mean_log_ratio, poorest


def cell(seed: int, **goodputs: float) -> ModeCell:
    named = {name.replace("_", "-"): value for name, value in goodputs.items()}
    return ModeCell("set-up", "arm", seed, named, [0.01], 0.7, 3.0)


def test_ratios_are_means_over_the_clients_of_the_same_seed() -> None:
    arm = [cell(0, a_0=2.0, b_0=8.0), cell(1, a_0=1.0, b_0=1.0)]
    base = [cell(1, a_0=1.0, b_0=4.0), cell(0, a_0=1.0, b_0=1.0)]
    assert mean_log_ratio(arm, base) == pytest.approx([math.log(4.0), math.log(0.5)])


def test_poorest_tier_is_a_mean_over_its_clients_and_seeds() -> None:
    arm = [cell(0, a_0=1.0, a_1=4.0, b_0=1.5), cell(1, a_0=1.0, a_1=4.0, b_0=1.5)]
    base = [cell(seed, a_0=1.0, a_1=1.0, b_0=1.0) for seed in (0, 1)]
    assert poorest(arm, base) == pytest.approx(1.5)

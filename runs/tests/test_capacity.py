"""The arms fit the scenarios, and the bound is that of the paper."""

import math
from dataclasses import replace

import pytest
from runs.capacity import ARMS, SCENARIOS, STATIC, USERS, WINDOW, offload_bound, with_users

from goodspeed.config import read_toml
from goodspeed.simulator.scenario import scenario_of


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_is_a_scenario(name: str, arm: str) -> None:
    scenario = scenario_of(ARMS[arm].applied_to(read_toml(SCENARIOS[name])))
    assert len(scenario.drafters) == 12


@pytest.mark.parametrize("users", USERS)
def test_other_users_change_every_tier_and_nothing_else(users: str) -> None:
    values = read_toml(SCENARIOS["8b"])
    changed = scenario_of(with_users(values, users))
    scenario = scenario_of(values)
    assert changed.verifiers == scenario.verifiers
    same = [
        replace(one, workload=other.workload, count=other.count)
        for one, other in zip(changed.drafters, scenario.drafters, strict=True)
    ]
    assert tuple(same) == scenario.drafters
    assert len({tier.workload for tier in changed.drafters}) == 1


def test_static_drafters_are_granted_no_more_than_they_propose() -> None:
    scenario = scenario_of(ARMS[STATIC].applied_to(read_toml(SCENARIOS["8b"])))
    assert scenario.verifiers[0].core.max_proposal == WINDOW
    assert {tier.window.max_tokens for tier in scenario.drafters} == {WINDOW}


def test_the_bound_is_one_and_the_drafting_time_in_verifications() -> None:
    """A step takes 20 ms; drafts of 4 tokens take 20 and 60 ms: 2 and 4 times as many clients."""
    linear = {"latency": {"linear": {"base_s": 0.02, "token_s": 0.0}}}
    drafters = [{"name": f"tier{s}", "latency": {"linear": {"base_s": s, "token_s": 0.0}}} for s in (0.005, 0.015)]
    scenario = scenario_of({"verifiers": [linear], "drafters": drafters})
    assert offload_bound(scenario, 8) == pytest.approx(math.sqrt(2 * 4))

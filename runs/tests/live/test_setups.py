"""Prompts and arms of the live experiments."""

import itertools

import pytest
from runs.live.domains import DOMAINS, prompts
from runs.live.setups import LINKS, PAPER, SETUPS

from goodspeed.errors import ConfigError


@pytest.mark.parametrize("domain", DOMAINS)
def test_prompts_are_distinct_and_determined_by_the_seed(domain: str) -> None:
    user_prompts = list(itertools.islice(prompts(domain, 1), 200))
    assert len(set(user_prompts)) == 200
    assert user_prompts == list(itertools.islice(prompts(domain, 1), 200))
    assert user_prompts != list(itertools.islice(prompts(domain, 2), 200))


@pytest.mark.parametrize("setup", [*PAPER, *LINKS])
def test_every_device_has_its_own_domain(setup: str) -> None:
    domains = [device.domain for device in SETUPS[setup].devices]
    assert len(set(domains)) == len(domains)
    assert set(domains) <= set(DOMAINS)


def test_arm_is_a_scheduler_with_options_and_a_client_may_get_the_whole_budget() -> None:
    core = SETUPS["n8-c20"].core("gradient,estimator=paper,beta=0.5", seed=7)
    assert (core.scheduler, core.estimator, core.beta, core.seed) == ("gradient", "paper", 0.5, 7)
    assert (core.budget, core.max_proposal, core.batching) == (20, 20, "barrier")


@pytest.mark.parametrize("arm", ["gradiant", "gradient,betta=0.5", "gradient,estimator=nobody", "gradient,0.5"])
def test_wrong_arm_is_an_error_before_anything_runs(arm: str) -> None:
    with pytest.raises(ConfigError):
        SETUPS["n4-c24"].core(arm, seed=1)

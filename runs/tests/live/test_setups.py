"""What the live experiments ask, and how their arms are configured."""

import itertools

import pytest
from runs.live.domains import DOMAINS, prompts
from runs.live.setups import LINKS, PAPER, SETUPS

from goodspeed.errors import ConfigError


@pytest.mark.parametrize("domain", DOMAINS)
def test_no_prompt_is_asked_twice_and_a_seed_gives_the_same_ones_again(domain: str) -> None:
    user_prompts = list(itertools.islice(prompts(domain, 1), 200))
    assert len(set(user_prompts)) == 200
    assert user_prompts == list(itertools.islice(prompts(domain, 1), 200))
    assert user_prompts != list(itertools.islice(prompts(domain, 2), 200))


@pytest.mark.parametrize("setup", [*PAPER, *LINKS])
def test_every_device_has_a_domain_of_its_own(setup: str) -> None:
    domains = [device.domain for device in SETUPS[setup].devices]
    assert len(set(domains)) == len(domains)
    assert set(domains) <= set(DOMAINS)


def test_an_arm_is_a_scheduler_with_options_and_any_client_may_have_the_whole_budget() -> None:
    core = SETUPS["n8-c20"].core("gradient,estimator=paper,beta=0.5", seed=7)
    assert (core.scheduler, core.estimator, core.beta, core.seed) == ("gradient", "paper", 0.5, 7)
    assert (core.budget, core.max_proposal, core.batching) == (20, 20, "barrier")


@pytest.mark.parametrize("arm", ["gradiant", "gradient,betta=0.5", "gradient,estimator=nobody", "gradient,0.5"])
def test_a_wrong_arm_is_an_error_before_anything_runs(arm: str) -> None:
    with pytest.raises(ConfigError):
        SETUPS["n4-c24"].core(arm, seed=1)

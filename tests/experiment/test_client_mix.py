"""The mix of drafter tiers is kept at every number of clients."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodspeed.errors import ConfigError
from goodspeed.experiment.client_mix import check_scalable, tier_counts, with_clients
from goodspeed.simulator.scenario import DrafterTier, Scenario
from goodspeed.simulator.workload.workloads import WorkloadConfig

MIXES = st.lists(st.integers(1, 300), min_size=1, max_size=8)


@given(MIXES, st.integers(0, 400))
def test_counts_add_up_and_one_client_more_is_one_more_in_one_tier(mix: list[int], extra: int) -> None:
    counts, more = (tier_counts(mix, len(mix) + extra + one) for one in (0, 1))
    assert sum(counts) == len(mix) + extra
    assert sorted(after - before for before, after in zip(counts, more, strict=True)) == [0] * (len(mix) - 1) + [1]


@given(MIXES, st.integers(1, 20))
def test_a_multiple_of_the_mix_is_that_multiple(mix: list[int], factor: int) -> None:
    assert tier_counts(mix, factor * sum(mix)) == [factor * count for count in mix]


@given(MIXES, st.integers(0, 2000))
def test_every_tier_is_within_one_client_of_its_share(mix: list[int], extra: int) -> None:
    num_clients = len(mix) + extra
    shares = [num_clients * weight / sum(mix) for weight in mix]
    if min(shares) >= 1.0:  # otherwise a tier has more than its share, at the expense of the others
        counts = tier_counts(mix, num_clients)
        assert all(abs(count - share) <= 1.0 + 0.5 * len(mix) / 2 for count, share in zip(counts, shares, strict=True))


def test_fewer_clients_than_tiers_are_refused() -> None:
    with pytest.raises(ConfigError, match="there are 3 drafter tiers and 2 clients"):
        tier_counts([1, 1, 1], 2)


def test_a_scenario_keeps_everything_but_its_counts() -> None:
    scenario = Scenario(drafters=(DrafterTier(name="near", count=2), DrafterTier(name="far", count=1)))
    larger = with_clients(scenario, 30)
    assert [tier.count for tier in larger.drafters] == [20, 10]
    assert with_clients(larger, 3) == scenario


def test_a_trace_that_all_clients_share_is_refused() -> None:
    tier = DrafterTier(name="traced", workload=WorkloadConfig(arrivals="trace"))
    with pytest.raises(ConfigError, match="'traced' is 'trace', whose requests are shared"):
        check_scalable(replace(Scenario(), drafters=(tier,)))

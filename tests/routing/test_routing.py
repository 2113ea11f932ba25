"""The contract of routing policies, for every registered one, and the purpose of each."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goodspeed.drafter.core.core_config import DrafterCoreConfig
from goodspeed.errors import ConfigError
from goodspeed.routing.policies import ROUTINGS
from goodspeed.routing.routing_policy import VerifierView


def view(index: int, depth: int = 0, rtt_s: float = 0.0, service_s: float = 0.0) -> VerifierView:
    return VerifierView(index, depth, 0.0, rtt_s, service_s)


some_up = st.lists(
    st.builds(
        VerifierView,
        index=st.integers(0, 30),
        depth=st.integers(0, 5),
        utilisation=st.floats(0, 1),
        rtt_s=st.floats(0, 1),
        service_s=st.floats(0, 1),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda view: view.index,
).map(lambda views: sorted(views, key=lambda view: view.index))


def picks(name: str, rounds: Sequence[Sequence[VerifierView]], seed: int = 5) -> list[int]:
    policy, rng = ROUTINGS[name](), np.random.default_rng(seed)
    return [policy.pick(candidates, rng) for candidates in rounds]


@pytest.mark.parametrize("name", ROUTINGS)
@given(rounds=st.lists(some_up, max_size=6))
@settings(max_examples=30)
def test_pick_is_one_of_the_candidates(name: str, rounds: list[list[VerifierView]]) -> None:
    for candidates, pick in zip(rounds, picks(name, rounds), strict=True):
        assert pick in {view.index for view in candidates}


@pytest.mark.parametrize("name", ROUTINGS)
@given(rounds=st.lists(some_up, max_size=6), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_picks_follow_from_the_seed(name: str, rounds: list[list[VerifierView]], seed: int) -> None:
    assert picks(name, rounds, seed) == picks(name, rounds, seed)
    assert all(type(pick) is int for pick in picks(name, rounds, seed))  # event logs hold it as a JSON number


def test_random_picks_all_candidates_equally_often() -> None:
    counts = Counter(picks("random", [[view(0), view(3, depth=9), view(7)]] * 3000))
    assert all(abs(counts[index] - 1000) < 4 * 26 for index in (0, 3, 7))  # 4 standard deviations


def test_round_robin_picks_in_turn_and_skips_verifiers_that_are_down() -> None:
    everybody = [view(index) for index in range(4)]
    without_2 = [view(index) for index in (0, 1, 3)]
    first, *rest = picks("round_robin", [everybody] * 8)
    assert rest == [(first + i) % 4 for i in range(1, 8)]
    turns = picks("round_robin", [[view(1)], everybody, without_2, without_2, everybody])
    assert turns == [1, 2, 3, 0, 1]


def test_round_robin_of_many_drafters_starts_at_all_verifiers() -> None:
    first_picks = {picks("round_robin", [[view(index) for index in range(4)]], seed)[0] for seed in range(40)}
    assert first_picks == {0, 1, 2, 3}


def test_jsq_joins_the_shortest_queue_and_breaks_ties_at_random() -> None:
    assert picks("jsq", [[view(0, 4), view(1, 2), view(2, 3)]] * 9) == [1] * 9
    assert set(picks("jsq", [[view(0, 2), view(1, 2), view(2, 3)]] * 40)) == {0, 1}


def test_power_of_two_never_picks_the_longest_queue() -> None:
    counts = Counter(picks("power_of_two", [[view(0, 9), view(1, 0), view(2, 5)]] * 3000))
    assert counts[0] == 0
    assert abs(counts[1] - 2000) < 4 * 26  # it is in two of the three pairs


def test_latency_aware_weighs_the_link_against_the_queue() -> None:
    far_idle, near_busy = view(0, depth=0, rtt_s=0.050, service_s=0.01), view(1, depth=2, rtt_s=0.005, service_s=0.01)
    assert picks("latency_aware", [[far_idle, near_busy]]) == [1]
    assert picks("latency_aware", [[far_idle, view(1, depth=6, rtt_s=0.005, service_s=0.01)]]) == [0]


def test_latency_aware_tries_a_verifier_that_was_never_measured() -> None:
    assert picks("latency_aware", [[view(0, 0, 0.001, 0.001), view(1, 3)]]) == [1]


def test_unknown_policy_names_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="did you mean 'round_robin'"):
        DrafterCoreConfig(routing="roundrobin")

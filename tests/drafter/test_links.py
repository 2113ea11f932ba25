"""The drafter core with links to several verifiers at once, in virtual time."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goodspeed.decoding.mode import Mode
from goodspeed.drafter.core.core_config import DrafterCoreConfig, RetryConfig
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.errors import CapacityError, ErrorCode
from goodspeed.protocol.messages import Error, Load, Open
from goodspeed.routing.policies import ROUTINGS
from goodspeed.testing.virtual_drafter import ToyVerifier, VirtualClock, VirtualDrafterHost, target_only_tokens
from goodspeed.verifier.core.core_config import VerifierCoreConfig

REQUEST = GenerationRequest(tuple(b"the quick brown"), max_tokens=40)
SPREADING = [name for name in ROUTINGS if name != "failover"]


def cluster(num_verifiers: int, routing: str) -> tuple[VirtualClock, list[ToyVerifier], VirtualDrafterHost]:
    """A drafter that is connected to every verifier that it dials, and its clock."""
    clock = VirtualClock()
    verifiers = [ToyVerifier(clock, VerifierCoreConfig(name=f"v{i}")) for i in range(num_verifiers)]
    drafter = VirtualDrafterHost(clock, verifiers, DrafterCoreConfig(num_verifiers, routing=routing))
    clock.run(0.1)
    return clock, verifiers, drafter


def places(drafter: VirtualDrafterHost) -> list[int]:
    """The drafter's streams by verifier."""
    return [link.num_streams for link in drafter.core.links]


def test_failover_keeps_one_link_and_dials_the_reserve_when_it_is_lost() -> None:
    clock, _, drafter = cluster(3, "failover")
    assert [link.is_up for link in drafter.core.links] == [True, False, False]
    assert drafter.core.dials == []
    drafter.cut()
    clock.run(0.1)
    assert [link.is_up for link in drafter.core.links] == [False, True, False]


@pytest.mark.parametrize("routing", SPREADING)
def test_every_other_policy_keeps_a_link_to_each_and_spreads_the_streams(routing: str) -> None:
    clock, verifiers, drafter = cluster(2, routing)
    keys = [drafter.open(replace(REQUEST, max_tokens=40 + i)) for i in range(12)]
    assert all(0 < num_streams < 12 for num_streams in places(drafter))
    clock.run(60)
    assert [drafter.received[key].tokens for key in keys] == [
        target_only_tokens(replace(REQUEST, max_tokens=40 + i)) for i in range(12)
    ]
    assert [verifier.engine.num_open for verifier in verifiers] == [0, 0]
    assert places(drafter) == [0, 0]


def test_stream_stays_where_it_was_opened() -> None:
    clock, _, drafter = cluster(3, "random")
    for _ in range(9):
        drafter.open(REQUEST)
    clock.run(60)
    assert Counter(message.epoch for message in drafter.sent if isinstance(message, Open)) == {0: 9}


def test_streams_of_a_lost_link_continue_elsewhere_and_the_others_stay() -> None:
    clock, verifiers, drafter = cluster(2, "round_robin")
    keys = [drafter.open(REQUEST) for _ in range(6)]
    clock.run(0.2)
    assert places(drafter) == [3, 3]
    verifiers[1].is_alive = False
    drafter.cut(verifier=1)
    assert places(drafter) == [6, 0]
    clock.run(60)
    assert [drafter.received[key].tokens for key in keys] == [target_only_tokens(REQUEST)] * 6
    assert Counter(message.epoch for message in drafter.sent if isinstance(message, Open)) == {0: 6, 1: 3}


def test_verifier_that_comes_back_is_used_again() -> None:
    clock, verifiers, drafter = cluster(2, "round_robin")
    verifiers[1].is_alive = False
    drafter.cut(verifier=1)
    drafter.open(REQUEST)
    drafter.open(REQUEST)
    assert places(drafter) == [2, 0]
    verifiers[1].is_alive = True
    clock.run(10)
    for _ in range(2):
        drafter.open(REQUEST)
    assert places(drafter) == [1, 1]


def test_pauses_grow_only_for_the_verifier_that_is_down() -> None:
    clock, verifiers, drafter = cluster(2, "jsq")
    verifiers[1].is_alive = False
    drafter.cut(verifier=1)
    clock.run(120)
    (dial,) = drafter.core.dials
    assert dial.verifier == 1
    drafter.cut(verifier=0)
    assert drafter.core.dials[0].at <= clock.now + 0.05


@given(
    cuts=st.lists(st.tuples(st.floats(0.001, 0.3), st.integers(0, 2)), max_size=8),
    routing=st.sampled_from(list(ROUTINGS)),
    latency_s=st.floats(0.0, 0.05),
)
@settings(max_examples=60)
def test_text_does_not_depend_on_routes_and_cuts(cuts: list[tuple[float, int]], routing: str, latency_s: float) -> None:
    clock, verifiers, drafter = cluster(3, routing)
    drafter.latency_s = lambda: latency_s
    request = replace(REQUEST, max_tokens=24)
    keys = [drafter.open(replace(request, mode=mode)) for mode in (Mode.DISTRIBUTED, Mode.TARGET_ONLY) * 2]
    for pause, verifier in cuts:
        clock.run(pause)
        drafter.cut(verifier=verifier)
    clock.run(60)
    assert [drafter.received[key].tokens for key in keys] == [target_only_tokens(request)] * 4
    assert places(drafter) == [0, 0, 0]
    assert drafter.core.wake_at() is None
    clock.run(60)  # leases
    assert [verifier.engine.num_open for verifier in verifiers] == [0, 0, 0]


def test_jsq_counts_what_was_reported_and_what_it_has_opened_since() -> None:
    clock, _, drafter = cluster(2, "jsq")
    drafter.receive(Load(open_streams=3, queued_streams=2, kv_used=0, kv_capacity=1), verifier=0)
    long = replace(REQUEST, max_tokens=500)
    for _ in range(5):
        drafter.open(long)
    assert places(drafter) == [0, 5]  # those of others at the first weigh as much as its own at the second
    drafter.open(long)
    drafter.open(long)
    assert places(drafter) == [1, 6]
    clock.run(0.5)
    assert drafter.core.links[1].depth == 6  # its own streams, reported, are not counted twice


def test_full_verifier_is_left_for_one_that_has_room() -> None:
    clock = VirtualClock()
    small = ToyVerifier(clock, VerifierCoreConfig(max_queued=1), ToyTarget(toy_info(kv_capacity=60)))
    verifiers = [small, ToyVerifier(clock)]
    drafter = VirtualDrafterHost(
        clock, verifiers, DrafterCoreConfig(2, routing="round_robin", retry=RetryConfig(give_up_s=5.0))
    )
    clock.run(0.1)
    keys = [drafter.open(replace(REQUEST, max_tokens=300)) for _ in range(4)]  # can never fit at the small one
    clock.run(60)
    assert [drafter.received[key].tokens for key in keys] == [target_only_tokens(replace(REQUEST, max_tokens=300))] * 4


def test_streams_beyond_every_verifiers_limit_wait_for_their_turn() -> None:
    clock = VirtualClock()
    verifiers = [ToyVerifier(clock, VerifierCoreConfig(max_streams=2)) for _ in range(2)]
    drafter = VirtualDrafterHost(clock, verifiers, DrafterCoreConfig(2, routing="jsq"))
    clock.run(0.1)
    keys = [drafter.open(REQUEST) for _ in range(9)]
    assert places(drafter) == [2, 2]
    clock.run(60)
    assert [drafter.received[key].tokens for key in keys] == [target_only_tokens(REQUEST)] * 9
    assert all(message.epoch == 0 for message in drafter.sent if isinstance(message, Open))  # no stream was refused


def test_verifier_of_another_model_is_left_though_no_stream_is_unfinished() -> None:
    clock = VirtualClock()
    other = ToyTarget(replace(toy_info(), model_fingerprint="another"))
    drafter = VirtualDrafterHost(
        clock, [ToyVerifier(clock), ToyVerifier(clock, engine=other)], DrafterCoreConfig(2, routing="random")
    )
    clock.run(1)
    assert [link.is_up for link in drafter.core.links] == [True, False]
    assert "another" in drafter.core.links.lost_reason
    keys = [drafter.open(REQUEST) for _ in range(4)]
    clock.run(60)
    assert [drafter.received[key].tokens for key in keys] == [target_only_tokens(REQUEST)] * 4


def test_requests_keep_to_the_tightest_limits_of_those_that_are_up() -> None:
    clock = VirtualClock()
    small = ToyTarget(toy_info(max_context=100))
    drafter = VirtualDrafterHost(
        clock, [ToyVerifier(clock), ToyVerifier(clock, engine=small)], DrafterCoreConfig(2, routing="random")
    )
    clock.run(0.1)
    assert drafter.core.welcome is not None
    assert drafter.core.welcome.max_context == 100


def test_message_about_another_verifiers_stream_is_ignored() -> None:
    clock, _, drafter = cluster(2, "jsq")
    key = drafter.open(REQUEST)
    elsewhere = 1 - places(drafter).index(1)
    drafter.receive(Error(ErrorCode.BAD_REQUEST, "not mine", key, epoch=0), verifier=elsewhere)
    clock.run(60)
    assert drafter.received[key].tokens == target_only_tokens(REQUEST)


def test_no_stream_is_opened_at_a_verifier_that_is_disconnected() -> None:
    clock, verifiers, drafter = cluster(2, "round_robin")
    now = clock.now
    drafter.core.on_message(0, Error(ErrorCode.SHUTTING_DOWN, "bye"), now)
    for _ in range(3):
        drafter.core.open(REQUEST, now)
    assert places(drafter) == [0, 3]
    assert len(verifiers) == 2


def test_stream_without_room_anywhere_fails() -> None:
    clock = VirtualClock()
    verifiers = [ToyVerifier(clock, engine=ToyTarget(toy_info(kv_capacity=20))) for _ in range(2)]
    drafter = VirtualDrafterHost(
        clock, verifiers, DrafterCoreConfig(2, routing="jsq", retry=RetryConfig(give_up_s=3.0))
    )
    clock.run(0.1)
    key = drafter.open(REQUEST)
    clock.run(4)
    assert isinstance(drafter.received[key].error, CapacityError)


def shares(routing: str) -> list[int]:
    """Answers by verifier, the second of which takes five times as long for a step; eight answers at any time."""
    clock, verifiers, drafter = cluster(2, routing)
    verifiers[1].step_s = 0.05
    opened = [0, 0]
    for _ in range(400):
        while drafter.core.num_streams < 8:
            before = places(drafter)
            drafter.open(REQUEST)
            opened = [sum(counts) for counts in zip(opened, places(drafter), [-count for count in before], strict=True)]
        clock.run(0.02)
    return opened


def test_policies_that_measure_give_a_slow_verifier_fewer_answers() -> None:
    by_turns, by_depth, by_latency = shares("round_robin"), shares("jsq"), shares("latency_aware")
    assert by_turns[1] / sum(by_turns) > 0.45
    assert by_depth[1] / sum(by_depth) < 0.35
    assert by_latency[1] / sum(by_latency) < 0.2
    assert by_latency[1] > 0  # it is still measured
    assert sum(by_latency) > sum(by_depth) > sum(by_turns)

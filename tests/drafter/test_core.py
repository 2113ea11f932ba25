"""The drafter core with verifier cores, in virtual time."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goodspeed.decoding.mode import Mode
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.drafter.core.core_config import DrafterCoreConfig, RetryConfig
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.errors import CapacityError, ErrorCode, LinkLostError, ProtocolError, RequestError
from goodspeed.protocol.messages import Cancel, Error, FinishReason, Open, Opened, Propose, Verdict
from goodspeed.testing.virtual_drafter import ToyVerifier, VirtualClock, VirtualDrafterHost, target_only_tokens
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.windows.policies import WindowConfig

PROMPT = tuple(b"the quick brown")
REQUEST = GenerationRequest(PROMPT, max_tokens=40)
COUPLED = Sampling(0.8, top_k=20, seed=7, rule=Rule.COUPLED)


def cluster(
    num_verifiers: int = 1, config: DrafterCoreConfig | None = None
) -> tuple[VirtualClock, list[ToyVerifier], VirtualDrafterHost]:
    """A virtual clock at a time when the drafter has met its first verifier."""
    clock = VirtualClock()
    verifiers = [ToyVerifier(clock) for _ in range(num_verifiers)]
    drafter = VirtualDrafterHost(clock, verifiers, replace(config or DrafterCoreConfig(), num_verifiers=num_verifiers))
    clock.run(0.1)
    return clock, verifiers, drafter


@pytest.mark.parametrize("sampling", [Sampling(), COUPLED])
def test_text_is_the_targets_own(sampling: Sampling) -> None:
    clock, _, drafter = cluster()
    request = replace(REQUEST, sampling=sampling)
    key = drafter.open(request)
    clock.run(60)
    received = drafter.received[key]
    assert received.tokens == target_only_tokens(request)
    assert received.finish is FinishReason.LENGTH
    assert received.num_accepted > 10
    num_cut = received.num_accepted + received.num_rounds - len(received.tokens)
    assert num_cut in {0, 1}  # the last round may end with an accepted token


def test_draft_engine_is_committed_exactly_the_answer() -> None:
    clock, _, drafter = cluster()
    keys = [drafter.open(replace(REQUEST, max_tokens=10 + i)) for i in range(3)]
    clock.run(60)
    for key in keys:
        assert drafter.engine_log[key] == [*PROMPT, *drafter.received[key].tokens]


def test_streams_are_drafted_for_in_one_batch() -> None:
    clock, _, drafter = cluster()
    drafter.drafting_s = 0.2  # everything else becomes ready meanwhile
    for _ in range(4):
        drafter.open(REQUEST)
    clock.run(120)
    assert all(received.tokens == target_only_tokens(REQUEST) for received in drafter.received.values())


def test_target_only_stream_bypasses_the_draft_engine() -> None:
    clock, _, drafter = cluster()
    key = drafter.open(replace(REQUEST, mode=Mode.TARGET_ONLY))
    clock.run(60)
    assert drafter.received[key].tokens == target_only_tokens(REQUEST)
    assert drafter.engine_log == {}
    assert not any(isinstance(message, Propose) for message in drafter.sent)


def test_empty_window_proposes_at_once_without_the_draft_engine() -> None:
    clock, _, drafter = cluster(config=DrafterCoreConfig(window=WindowConfig("fixed", max_tokens=0)))
    drafter.drafting_s = 1e6  # if the engine drafted, no token would come
    key = drafter.open(REQUEST)
    clock.run(60)
    assert drafter.received[key].tokens == target_only_tokens(REQUEST)
    assert drafter.received[key].num_rounds == 40


def test_log_probabilities_come_with_every_token() -> None:
    clock, _, drafter = cluster()
    key = drafter.open(replace(REQUEST, logprobs=True))
    clock.run(60)
    assert len(drafter.received[key].logprobs) == len(drafter.received[key].tokens) == 40


def test_end_token_ends_the_answer() -> None:
    clock, _, drafter = cluster()
    end = target_only_tokens(REQUEST)[17]
    request = replace(REQUEST, end_tokens=(end,))
    key = drafter.open(request)
    clock.run(60)
    assert drafter.received[key].tokens == target_only_tokens(request)
    assert drafter.received[key].finish is FinishReason.STOP


@given(
    cuts=st.lists(st.floats(0.001, 0.3), max_size=6),
    window=st.integers(0, 8),
    temperature=st.sampled_from([0.0, 0.7, 1.0]),
    latency_s=st.floats(0.0, 0.05),
    num_verifiers=st.integers(1, 3),
)
@settings(max_examples=60)
def test_text_does_not_depend_on_cuts_windows_and_links(
    cuts: list[float], window: int, temperature: float, latency_s: float, num_verifiers: int
) -> None:
    clock, _, drafter = cluster(num_verifiers, DrafterCoreConfig(window=WindowConfig("fixed", window)))
    drafter.latency_s = lambda: latency_s
    sampling = Sampling(temperature, seed=3, rule=Rule.COUPLED if temperature else Rule.GREEDY)
    request = GenerationRequest(PROMPT, 24, sampling)
    keys = [drafter.open(request), drafter.open(replace(request, mode=Mode.TARGET_ONLY))]
    for pause in cuts:
        clock.run(pause)
        drafter.cut()
    clock.run(60)
    for key in keys:
        assert drafter.received[key].tokens == target_only_tokens(request)
    assert drafter.engine_log[keys[0]] == [*PROMPT, *target_only_tokens(request)]


def test_next_verifier_continues_when_the_first_dies() -> None:
    clock, (first, second), drafter = cluster(2)
    key = drafter.open(REQUEST)
    clock.run(0.2)
    assert 0 < len(drafter.received[key].tokens) < 40
    first.is_alive = False
    drafter.cut()
    clock.run(60)
    assert drafter.received[key].tokens == target_only_tokens(REQUEST)
    assert second.engine.num_open == 0
    reopened = [message for message in drafter.sent if isinstance(message, Open)]
    assert [message.epoch for message in reopened] == [0, 1]
    assert len(reopened[1].tokens) > len(PROMPT)


def test_verifier_without_a_verdict_for_too_long_is_given_up() -> None:
    clock, (first, _), drafter = cluster(2, DrafterCoreConfig(retry=RetryConfig(repeat_s=1.0, verdict_s=3.0)))
    key = drafter.open(REQUEST)
    clock.run(0.2)
    first.is_deaf = True
    clock.run(60)
    assert drafter.received[key].tokens == target_only_tokens(REQUEST)


def test_a_verifier_that_has_preempted_a_stream_is_not_given_up() -> None:
    clock, (verifier,), drafter = cluster(config=DrafterCoreConfig(retry=RetryConfig(repeat_s=1.0, verdict_s=3.0)))
    key = drafter.open(REQUEST)
    clock.run(0.2)
    verifier.is_deaf = True
    for _ in range(5):
        clock.run(2.0)
        drafter.core.on_message(0, Opened(key, 0), clock.now)
    verifier.is_deaf = False
    clock.run(60)
    assert drafter.received[key].tokens == target_only_tokens(REQUEST)
    assert [message.epoch for message in drafter.sent if isinstance(message, Open)] == [0]


def test_lost_proposal_is_repeated() -> None:
    clock, (verifier,), drafter = cluster(config=DrafterCoreConfig(retry=RetryConfig(repeat_s=1.0)))
    key = drafter.open(REQUEST)
    clock.run(0.2)
    verifier.is_deaf = True
    clock.run(0.5)
    verifier.is_deaf = False
    clock.run(60)
    assert drafter.received[key].tokens == target_only_tokens(REQUEST)
    proposals = [message for message in drafter.sent if isinstance(message, Propose)]
    assert len(proposals) == len(set(proposals)) + 1


def test_verdict_that_comes_twice_counts_once() -> None:
    clock, (verifier,), drafter = cluster(config=DrafterCoreConfig(retry=RetryConfig(repeat_s=0.02)))
    drafter.latency_s = lambda: 0.05  # so that every proposal is repeated before its verdict can be here
    key = drafter.open(REQUEST)
    clock.run(60)
    assert drafter.received[key].tokens == target_only_tokens(REQUEST)
    assert verifier.engine.num_open == 0


def test_streams_fail_when_no_verifier_is_found_in_time() -> None:
    clock, (first, second), drafter = cluster(2, DrafterCoreConfig(retry=RetryConfig(give_up_s=8.0)))
    key = drafter.open(REQUEST)
    clock.run(0.2)
    first.is_alive = second.is_alive = False
    drafter.cut()
    clock.run(7.5)
    assert drafter.received[key].error is None
    clock.run(1.0)
    assert isinstance(drafter.received[key].error, LinkLostError)
    assert "no verifier could be reached for 8 s: no answer" in str(drafter.received[key].error)
    assert drafter.core.num_streams == 0
    assert drafter.core.wake_at() is None


def test_pauses_between_dials_grow_to_the_longest() -> None:
    clock, (verifier,), drafter = cluster()
    verifier.is_alive = False
    drafter.cut()
    dials: list[float] = []
    for _ in range(4000):
        dial = drafter.core.dials[0]
        if not dials or dials[-1] != dial.at:
            dials.append(dial.at)
        clock.run(0.01)
    pauses = [after - before for before, after in itertools.pairwise(dials)]
    assert pauses[0] < 0.1
    assert all(2.5 <= pause <= 5.02 for pause in pauses[-3:])


@pytest.mark.parametrize("code", [ErrorCode.DIVERGED, ErrorCode.LEASE_EXPIRED, ErrorCode.UNKNOWN_STREAM])
def test_stream_that_the_verifier_gave_up_is_reopened_once(code: ErrorCode) -> None:
    clock, _, drafter = cluster()
    key = drafter.open(replace(REQUEST, max_tokens=200))
    clock.run(0.2)
    drafter.receive(Error(code, "so it is", key, epoch=0))
    clock.run(0.2)
    assert drafter.received[key].error is None
    drafter.receive(Error(code, "so it is", key, epoch=1))
    clock.run(0.2)
    error = drafter.received[key].error
    assert isinstance(error, ProtocolError)
    assert error.code is code
    assert "so it is" in str(error)


def test_reopened_stream_has_the_same_text() -> None:
    clock, _, drafter = cluster()
    key = drafter.open(REQUEST)
    clock.run(0.2)
    drafter.receive(Error(ErrorCode.DIVERGED, "", key, epoch=0))
    clock.run(60)
    assert drafter.received[key].tokens == target_only_tokens(REQUEST)


def test_contradicting_verdict_reopens_the_stream() -> None:
    clock, _, drafter = cluster()
    key = drafter.open(REQUEST)
    clock.run(0.2)
    drafter.receive(Verdict(key, epoch=0, round=99, num_accepted=0, next_token=1, committed_length=3, grant=4))
    clock.run(60)
    assert drafter.received[key].tokens == target_only_tokens(REQUEST)


def test_error_of_an_older_epoch_is_ignored() -> None:
    clock, _, drafter = cluster()
    key = drafter.open(REQUEST)
    clock.run(0.2)
    drafter.cut()
    clock.run(0.1)
    drafter.receive(Error(ErrorCode.BAD_REQUEST, "old", key, epoch=0))
    clock.run(60)
    assert drafter.received[key].tokens == target_only_tokens(REQUEST)


def test_open_is_repeated_until_a_full_verifier_has_room() -> None:
    clock = VirtualClock()
    verifier = ToyVerifier(clock, VerifierCoreConfig(max_queued=1), ToyTarget(toy_info(kv_capacity=60)))
    drafter = VirtualDrafterHost(clock, [verifier])
    clock.run(0.1)
    keys = [drafter.open(REQUEST) for _ in range(5)]  # 55 KV tokens each: one at a time
    clock.run(60)
    assert all(drafter.received[key].tokens == target_only_tokens(REQUEST) for key in keys)
    assert len([message for message in drafter.sent if isinstance(message, Open)]) > 5


def test_stream_that_never_finds_room_fails() -> None:
    clock = VirtualClock()
    verifier = ToyVerifier(clock, engine=ToyTarget(toy_info(kv_capacity=20)))
    drafter = VirtualDrafterHost(clock, [verifier], DrafterCoreConfig(retry=RetryConfig(give_up_s=3.0)))
    clock.run(0.1)
    key = drafter.open(REQUEST)
    clock.run(4)
    assert isinstance(drafter.received[key].error, CapacityError)
    assert "the verifier has 20" in str(drafter.received[key].error)


def test_streams_beyond_the_verifiers_limit_take_turns() -> None:
    clock = VirtualClock()
    drafter = VirtualDrafterHost(clock, [ToyVerifier(clock, VerifierCoreConfig(max_streams=2))])
    clock.run(0.1)
    keys = [drafter.open(REQUEST) for _ in range(6)]
    clock.run(60)
    assert all(drafter.received[key].tokens == target_only_tokens(REQUEST) for key in keys)
    assert all(message.epoch == 0 for message in drafter.sent if isinstance(message, Open))  # no stream was refused


def test_cancelled_stream_is_freed_everywhere() -> None:
    clock, (verifier,), drafter = cluster()
    key = drafter.open(REQUEST)
    clock.run(0.2)
    drafter.cancel(key)
    drafter.cancel(key)  # once more changes nothing
    clock.run(0.2)
    load = verifier.core.stats().load
    assert (load.open_streams, load.kv_used, verifier.engine.num_open) == (0, 0, 0)
    assert drafter.core.num_streams == 0
    assert sum(isinstance(message, Cancel) for message in drafter.sent) == 1
    assert drafter.core.wake_at() is None


def test_stream_cancelled_while_it_is_drafted_is_not_proposed() -> None:
    clock, _, drafter = cluster()
    drafter.drafting_s = 0.1
    key = drafter.open(REQUEST)
    clock.run(0.25)
    drafter.cancel(key)
    num_sent = len(drafter.sent)
    clock.run(1)
    assert len(drafter.sent) == num_sent


def test_request_beyond_the_context_is_refused_at_once() -> None:
    _, _, drafter = cluster()
    with pytest.raises(RequestError, match="expected at most 4096 together"):
        drafter.open(GenerationRequest(PROMPT, max_tokens=5000))
    assert drafter.core.num_streams == 0


def test_stream_that_the_verifier_refuses_fails_as_the_users_error() -> None:
    _, _, drafter = cluster()
    key = drafter.open(REQUEST)
    drafter.receive(Error(ErrorCode.BAD_REQUEST, "too odd", key, epoch=0))
    assert isinstance(drafter.received[key].error, RequestError)


def test_verifier_of_another_model_is_left_while_streams_are_unfinished() -> None:
    clock = VirtualClock()
    other = ToyTarget(replace(toy_info(), model_fingerprint="another"))
    verifiers = [ToyVerifier(clock), ToyVerifier(clock, engine=other), ToyVerifier(clock)]
    drafter = VirtualDrafterHost(clock, verifiers, DrafterCoreConfig(num_verifiers=3))
    clock.run(0.1)
    key = drafter.open(REQUEST)
    clock.run(0.2)
    drafter.cut()
    clock.run(60)
    assert drafter.received[key].tokens == target_only_tokens(REQUEST)
    assert drafter.core.welcome is not None
    assert drafter.core.welcome.model_fingerprint == "toy-259"


def test_round_trip_is_measured_without_queue_and_verification() -> None:
    clock, _, drafter = cluster()
    drafter.latency_s = lambda: 0.04
    drafter.open(REQUEST)
    clock.run(60)
    assert drafter.core.links[0].rtt_s.get() == pytest.approx(0.08, abs=0.002)
    assert drafter.core.links[0].verify_s.get() == pytest.approx(0.01, abs=0.001)

"""Streams through the core: texts, sessions, leases, duplicates, faults."""

from collections.abc import Callable, Sequence

import pytest
from msgspec.structs import replace

from goodspeed.decoding.mode import Mode
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.interface import Prefill
from goodspeed.engine.toy_target import toy_info
from goodspeed.errors import ErrorCode, ProtocolError
from goodspeed.protocol.messages import (
    Cancel,
    Error,
    FinishReason,
    Load,
    Message,
    Open,
    Opened,
    Propose,
    Refused,
    Verdict,
    Welcome,
)
from goodspeed.protocol.session import tokens_crc32
from goodspeed.testing.virtual_verifier import VirtualDrafter, VirtualVerifier, hello, open_request, target_only_text
from goodspeed.verifier.core.batch import EndStream
from goodspeed.verifier.core.core_config import VerifierCoreConfig

COUPLED = Sampling(temperature=0.8, seed=7, rule=Rule.COUPLED)


def load(verifier: VirtualVerifier) -> Load:
    return verifier.core.stats().load


def kinds(messages: Sequence[Message]) -> list[type]:
    return [type(message) for message in messages]


def errors(messages: Sequence[Message]) -> list[tuple[ErrorCode, int | None]]:
    return [(message.code, message.stream) for message in messages if isinstance(message, Error)]


def started(verifier: VirtualVerifier, conn: int, request: Open) -> Verdict:
    """Open the stream and run it up to its first verdict."""
    verifier.deliver(conn, request)
    while not (verdicts := [message for message in verifier.take(conn) if isinstance(message, Verdict)]):
        assert verifier.step()
    return verdicts[0]


def proposal(request: Open, verdict: Verdict, tokens: tuple[int, ...]) -> Propose:
    """The next round's proposal, for a stream whose text so far is the target's own."""
    committed = target_only_text(request)[: verdict.committed_length]
    return Propose(
        request.stream, request.epoch, verdict.round + 1, verdict.committed_length, tokens_crc32(committed), tokens
    )


@pytest.mark.parametrize("sampling", [Sampling(), COUPLED], ids=["greedy", "coupled"])
def test_every_text_is_the_targets_own_at_any_acceptance_rate(sampling: Sampling) -> None:
    verifier = VirtualVerifier()
    drafters = [VirtualDrafter(verifier, f"drafter {i}", i / 4) for i in range(5)]
    requests = [open_request(stream, prompt=range(stream, stream + 5), sampling=sampling) for stream in (1, 2, 3)]
    for drafter in drafters:
        for request in requests:
            drafter.open(request)
    verifier.run(10.0)
    for drafter in drafters:
        assert drafter.texts == {request.stream: target_only_text(request) for request in requests}
    assert load(verifier).kv_used == verifier.engine.num_open == 0


def test_target_only_stream_needs_no_proposals_and_is_no_evidence_for_the_estimator() -> None:
    verifier = VirtualVerifier()
    drafter = VirtualDrafter(verifier, "edge", 0.9)
    request = replace(open_request(1), mode=Mode.TARGET_ONLY)
    drafter.open(request)
    verifier.run(5.0)
    assert drafter.texts == {1: target_only_text(request)}
    (client,) = verifier.core.stats().clients
    assert (client.num_proposed, client.num_committed) == (0, 20)
    assert client.estimator.goodput == 1.0
    assert client.num_rounds == 20


def test_end_token_finishes_a_stream_with_reason_stop() -> None:
    verifier = VirtualVerifier()
    text = target_only_text(open_request(1))
    request = replace(open_request(1), end_tokens=(text[8],))
    drafter = VirtualDrafter(verifier, "edge", 1.0)
    drafter.open(request)
    verifier.run(5.0)
    assert drafter.texts[1] == target_only_text(request)
    assert drafter.texts[1][-1] == text[8]


def test_hello_is_answered_with_limits_and_load() -> None:
    verifier = VirtualVerifier(VerifierCoreConfig(max_streams=9, name="verifier-a"))
    conn = verifier.connect()
    welcome, first_load = verifier.deliver(conn, hello("edge"))
    assert isinstance(welcome, Welcome)
    assert (welcome.verifier, welcome.max_streams, welcome.model) == ("verifier-a", 9, "toy")
    assert isinstance(first_load, Load)


def test_wrong_fingerprint_is_refused() -> None:
    verifier = VirtualVerifier()
    (refused,) = verifier.deliver(verifier.connect(), hello("edge", tokenizer_fingerprint="other"))
    assert isinstance(refused, Refused)
    assert refused.code is ErrorCode.TOKENIZER_MISMATCH


@pytest.mark.parametrize("version", [1, 2, 3, 4, 6])
def test_a_drafter_of_another_protocol_version_is_refused_in_words(version: int) -> None:
    verifier = VirtualVerifier()
    (refused,) = verifier.deliver(verifier.connect(), replace(hello("edge"), version=version))
    reason = f"the drafter has protocol version {version}, this verifier has 5"
    assert refused == Refused(ErrorCode.VERSION, reason)


def test_anything_before_hello_is_refused_and_then_ignored() -> None:
    verifier = VirtualVerifier()
    conn = verifier.connect()
    assert kinds(verifier.deliver(conn, open_request(1))) == [Refused]
    assert verifier.deliver(conn, hello("edge")) == []


def test_a_link_without_hello_is_refused_after_the_timeout() -> None:
    verifier = VirtualVerifier()
    conn = verifier.connect()
    verifier.pass_time(10.0)
    assert kinds(verifier.take(conn)) == [Refused]


def test_second_session_of_a_drafter_supersedes_the_first() -> None:
    verifier = VirtualVerifier()
    first = verifier.welcome("edge")
    started(verifier, first, open_request(1))
    second = verifier.connect()
    assert kinds(verifier.deliver(second, hello("edge"))) == [Welcome, Load]
    assert errors(verifier.take(first)) == [(ErrorCode.SUPERSEDED, None)]
    assert verifier.deliver(first, open_request(2)) == []
    assert kinds(verifier.deliver(second, replace(open_request(1), epoch=1))) == [Opened]
    assert load(verifier).open_streams == 1


def test_a_reconnected_drafter_resumes_at_the_committed_text() -> None:
    verifier = VirtualVerifier()
    drafter = VirtualDrafter(verifier, "edge", 0.6)
    other = VirtualDrafter(verifier, "other", 0.6)
    request = open_request(1, max_tokens=60, sampling=COUPLED)
    drafter.open(request)
    other.open(request)
    for _ in range(6):
        verifier.run(0.043)
        drafter.reconnect("edge")
    verifier.run(10.0)
    assert drafter.texts == other.texts == {1: target_only_text(request)}
    assert not drafter.errors
    assert load(verifier).kv_used == verifier.engine.num_open == 0


def test_reopening_with_the_committed_prefix_prefills_nothing() -> None:
    verifier = VirtualVerifier()
    request = open_request(1, prompt=range(200))
    verdict = started(verifier, verifier.welcome("edge"), request)
    again = verifier.welcome("edge")
    resumed = replace(request, epoch=1, tokens=(*request.tokens, verdict.next_token))
    next_verdict = started(verifier, again, resumed)
    assert (next_verdict.round, next_verdict.epoch) == (0, 1)
    assert [*resumed.tokens, next_verdict.next_token] == target_only_text(request)[:202]
    work = [item for batch in verifier.steps for item in batch.work]
    assert sum(item.num_tokens for item in work if isinstance(item, Prefill)) == 200


def test_reopening_elsewhere_in_the_text_frees_the_old_stream_at_once() -> None:
    verifier = VirtualVerifier()
    request = open_request(1)
    started(verifier, verifier.welcome("edge"), request)
    conn = verifier.welcome("edge")
    verdict = started(verifier, conn, replace(request, epoch=1))  # without the token of the last verdict
    assert (verdict.next_token, verdict.committed_length) == (target_only_text(request)[3], 4)
    assert load(verifier).open_streams == 1
    verifier.step_until_idle()
    assert verifier.engine.num_open == 1


def test_expired_lease_frees_a_disconnected_stream() -> None:
    verifier = VirtualVerifier(VerifierCoreConfig(lease_s=30.0))
    conn = verifier.welcome("edge")
    started(verifier, conn, open_request(1))
    verifier.disconnect(conn)
    verifier.pass_time(29.9)
    assert load(verifier).open_streams == 1
    verifier.pass_time(0.2)
    verifier.step_until_idle()
    assert load(verifier).kv_used == verifier.engine.num_open == 0


def test_expired_lease_of_an_inactive_drafter_is_reported() -> None:
    verifier = VirtualVerifier(VerifierCoreConfig(lease_s=30.0))
    conn = verifier.welcome("edge")
    started(verifier, conn, open_request(1))
    verifier.pass_time(31.0)
    assert errors(verifier.take(conn)) == [(ErrorCode.LEASE_EXPIRED, 1)]
    assert load(verifier).kv_used == 0


def test_a_drafter_lost_in_mid_step_keeps_its_stream_for_the_lease() -> None:
    verifier = VirtualVerifier()
    conn = verifier.welcome("edge")
    verifier.deliver(conn, open_request(1))
    verifier.after(0.001, lambda: verifier.disconnect(conn))  # while the engine prefills
    verifier.run(1.0)
    assert load(verifier).open_streams == 1
    verifier.run(31.0)
    assert load(verifier).kv_used == verifier.engine.num_open == 0


def test_cancel_frees_the_stream_even_in_mid_step() -> None:
    verifier = VirtualVerifier()
    conn = verifier.welcome("edge")
    verifier.deliver(conn, open_request(1))

    def cancel() -> None:
        verifier.deliver(conn, Cancel(1, 0))

    verifier.after(0.001, cancel)
    verifier.run(1.0)
    assert load(verifier).kv_used == verifier.engine.num_open == 0
    assert Verdict not in kinds(verifier.take(conn))


def test_repeated_proposal_gets_the_same_verdict() -> None:
    verifier = VirtualVerifier()
    conn = verifier.welcome("edge")
    request = open_request(1)
    propose = proposal(request, started(verifier, conn, request), tokens=())
    assert verifier.deliver(conn, propose) == []
    assert verifier.deliver(conn, propose) == []  # it is being verified
    verifier.step_until_idle()
    (verdict,) = verifier.take(conn)
    assert verifier.deliver(conn, propose) == [verdict]


def test_repeated_last_proposal_gets_the_finishing_verdict() -> None:
    verifier = VirtualVerifier()
    conn = verifier.welcome("edge")
    request = open_request(1, max_tokens=3)
    propose = proposal(request, started(verifier, conn, request), tokens=(target_only_text(request)[4],))
    verifier.deliver(conn, propose)
    verifier.step_until_idle()
    verdict = next(message for message in verifier.take(conn) if isinstance(message, Verdict))
    assert verdict.finish is FinishReason.LENGTH
    assert verifier.deliver(conn, propose) == [verdict]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda propose: replace(propose, committed_crc32=1), ErrorCode.DIVERGED),
        (lambda propose: replace(propose, round=5), ErrorCode.WRONG_ROUND),
        (lambda propose: replace(propose, tokens=(1,) * 17), ErrorCode.OVER_GRANT),
        (lambda propose: replace(propose, tokens=(100_000,)), ErrorCode.BAD_TOKEN),
        (lambda propose: replace(propose, confidences=(3,)), ErrorCode.MALFORMED),
    ],
)
def test_a_wrong_proposal_ends_only_its_stream(change: Callable[[Propose], Propose], code: ErrorCode) -> None:
    verifier = VirtualVerifier()
    victim = VirtualDrafter(verifier, "victim", 0.7)
    victim.open(open_request(1))
    conn = verifier.welcome("offender")
    verdicts = {stream: started(verifier, conn, open_request(stream)) for stream in (1, 2)}
    wrong = change(proposal(open_request(1), verdicts[1], ()))
    assert errors(verifier.deliver(conn, wrong)) == [(code, 1)]
    assert verifier.deliver(conn, proposal(open_request(2), verdicts[2], ())) == []
    verifier.run(5.0)
    assert Verdict in kinds(verifier.take(conn))
    assert victim.texts == {1: target_only_text(open_request(1))}


def test_stale_epoch_ends_nothing() -> None:
    verifier = VirtualVerifier()
    conn = verifier.welcome("edge")
    request = replace(open_request(1), epoch=3)
    verdict = started(verifier, conn, request)
    stale = replace(proposal(request, verdict, ()), epoch=2)
    (error,) = verifier.deliver(conn, stale)
    assert isinstance(error, Error)
    assert (error.code, error.epoch) == (ErrorCode.STALE_EPOCH, 2)
    assert errors(verifier.deliver(conn, open_request(1))) == [(ErrorCode.STALE_EPOCH, 1)]
    assert load(verifier).open_streams == 1


def test_unknown_streams_and_verifiers_messages_are_errors() -> None:
    verifier = VirtualVerifier()
    conn = verifier.welcome("edge")
    assert errors(verifier.deliver(conn, Propose(9, 0, 1, 1, 1, ()))) == [(ErrorCode.UNKNOWN_STREAM, 9)]
    assert errors(verifier.deliver(conn, Opened(1, 0))) == [(ErrorCode.OUT_OF_ORDER, None)]


def test_malformed_message_of_a_stream_ends_that_stream() -> None:
    verifier = VirtualVerifier()
    conn = verifier.welcome("edge")
    started(verifier, conn, open_request(1))
    started(verifier, conn, open_request(2))
    replies = verifier.core.on_malformed(conn, ProtocolError(ErrorCode.MALFORMED, "no distribution", 1), verifier.now)
    assert errors([message for _, message in replies]) == [(ErrorCode.MALFORMED, 1)]
    assert load(verifier).open_streams == 1


def test_failed_step_ends_its_streams_and_no_others() -> None:
    verifier = VirtualVerifier()
    conn = verifier.welcome("edge")
    started(verifier, conn, open_request(1))
    verifier.deliver(conn, open_request(2))
    batch = verifier.core.next_batch(verifier.now)
    assert batch is not None
    replies = verifier.core.on_failed(batch, "out of memory", verifier.now)
    assert errors([message for _, message in replies]) == [(ErrorCode.INTERNAL, 2)]
    assert load(verifier).open_streams == 1
    closing = verifier.core.next_batch(verifier.now)
    assert closing is not None
    assert closing.updates == (EndStream(2),)


def test_shutdown_notifies_every_drafter_and_closes_every_stream() -> None:
    verifier = VirtualVerifier()
    conns = [verifier.welcome("a"), verifier.welcome("b")]
    started(verifier, conns[0], open_request(1))
    replies = verifier.core.on_shutdown(verifier.now)
    assert [(conn, message.code) for conn, message in replies if isinstance(message, Error)] == [
        (conn, ErrorCode.SHUTTING_DOWN) for conn in conns
    ]
    verifier.step_until_idle()
    assert verifier.engine.num_open == 0


def test_load_is_reported_on_change_at_most_once_per_second() -> None:
    verifier = VirtualVerifier()
    conn = verifier.welcome("edge")
    loads = []
    for stream in range(10):
        loads += [message for message in verifier.deliver(conn, open_request(stream)) if isinstance(message, Load)]
        verifier.now += 0.05
    assert len(loads) == 1
    assert verifier.core.wake_at() is not None
    verifier.pass_time(1.0)
    (last,) = verifier.take(conn)
    assert last == load(verifier)


def test_too_long_a_request_is_a_bad_request_and_too_big_for_memory_is_capacity() -> None:
    verifier = VirtualVerifier(info=toy_info(max_context=1000, kv_capacity=500))
    conn = verifier.welcome("edge")
    assert errors(verifier.deliver(conn, open_request(1, max_tokens=998))) == [(ErrorCode.BAD_REQUEST, 1)]
    assert errors(verifier.deliver(conn, open_request(2, max_tokens=700))) == [(ErrorCode.CAPACITY, 2)]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda propose: replace(propose, round=propose.round + 1), ErrorCode.WRONG_ROUND),
        (lambda propose: replace(propose, epoch=propose.epoch + 1), ErrorCode.STALE_EPOCH),
    ],
)
def test_a_finished_stream_accepts_no_new_proposal(change: Callable[[Propose], Propose], code: ErrorCode) -> None:
    verifier = VirtualVerifier()
    conn = verifier.welcome("edge")
    request = open_request(1, max_tokens=3)
    propose = proposal(request, started(verifier, conn, request), tokens=(target_only_text(request)[4],))
    verifier.deliver(conn, propose)
    verifier.step_until_idle()
    verifier.take(conn)
    (error,) = verifier.deliver(conn, change(propose))
    assert isinstance(error, Error)
    assert (error.code, error.stream) == (code, 1)

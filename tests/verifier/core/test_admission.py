"""KV memory, the admission queue, and prefill in chunks."""

from collections.abc import Sequence
from dataclasses import replace as replace_config

from msgspec.structs import replace

from goodspeed.decoding.mode import Mode
from goodspeed.engine.interface import Prefill, Verify
from goodspeed.engine.toy_target import toy_info
from goodspeed.errors import ErrorCode
from goodspeed.protocol.messages import Cancel, Error, Message, Opened, Verdict
from goodspeed.testing.virtual_verifier import VirtualDrafter, VirtualVerifier, open_request, target_only_text
from goodspeed.verifier.core.core_config import VerifierCoreConfig

STREAM_TOKENS = 23  # of the streams that open_request() makes


def small(num_streams: int, config: VerifierCoreConfig | None = None) -> VirtualVerifier:
    """A verifier with KV memory for `num_streams` streams, which it reserves."""
    config = replace_config(config or VerifierCoreConfig(), growth_watermark=0.0)
    return VirtualVerifier(config, toy_info(kv_capacity=num_streams * STREAM_TOKENS))


def opened(messages: Sequence[Message]) -> list[int]:
    return [message.stream for message in messages if isinstance(message, Opened)]


def refused(messages: Sequence[Message]) -> list[int]:
    return [
        message.stream or 0 for message in messages if isinstance(message, Error) and message.code is ErrorCode.CAPACITY
    ]


def test_streams_wait_for_memory_and_all_are_served() -> None:
    verifier = small(num_streams=3)
    drafters = [VirtualDrafter(verifier, f"drafter {i}", 0.7) for i in range(4)]
    for drafter in drafters:
        for stream in range(5):
            drafter.open(open_request(stream))
    load = verifier.core.stats().load
    assert (load.open_streams, load.queued_streams, load.kv_used) == (3, 17, 3 * STREAM_TOKENS)
    verifier.run(60.0)
    for drafter in drafters:
        assert drafter.texts == {stream: target_only_text(open_request(stream)) for stream in range(5)}
    load = verifier.core.stats().load
    assert (load.open_streams, load.queued_streams, load.kv_used) == (0, 0, 0)


def test_clients_take_turns_in_the_queue() -> None:
    verifier = small(num_streams=1)
    flood, guest = verifier.welcome("flood"), verifier.welcome("guest")
    for stream in range(10):
        verifier.deliver(flood, open_request(stream))
    verifier.deliver(guest, open_request(1))
    assert opened(verifier.deliver(flood, Cancel(0, 0))) == [1]
    verifier.deliver(flood, Cancel(1, 0))
    assert opened(verifier.take(guest)) == [1]


def test_a_session_has_a_limit_of_streams() -> None:
    verifier = small(2, VerifierCoreConfig(max_streams=4))
    conn = verifier.welcome("edge")
    replies = [message for stream in range(6) for message in verifier.deliver(conn, open_request(stream))]
    assert opened(replies) == [0, 1]
    assert refused(replies) == [4, 5]


def test_a_full_queue_turns_away_the_client_with_most_streams() -> None:
    verifier = small(1, VerifierCoreConfig(max_queued=8, max_streams=1000))
    flood, guest = verifier.welcome("flood"), verifier.welcome("guest")
    for stream in range(50):
        verifier.deliver(flood, open_request(stream))
    assert verifier.core.stats().load.queued_streams == 8
    assert refused(verifier.deliver(guest, open_request(1))) == []  # it waits
    assert refused(verifier.take(flood)) == [8]  # the latest stream of the longest queue was turned away


def test_cancelled_and_lost_streams_leave_the_queue() -> None:
    verifier = small(num_streams=1)
    conn = verifier.welcome("edge")
    for stream in range(4):
        verifier.deliver(conn, open_request(stream))
    verifier.deliver(conn, Cancel(2, 0))
    assert verifier.core.stats().load.queued_streams == 2
    verifier.disconnect(conn)
    assert verifier.core.stats().load.queued_streams == 0


def test_memory_of_disconnected_drafters_is_given_to_waiting_streams() -> None:
    verifier = small(num_streams=1)
    lost, guest = verifier.welcome("lost"), verifier.welcome("guest")
    verifier.deliver(lost, open_request(1))
    verifier.step_until_idle()
    verifier.deliver(guest, open_request(1))
    assert opened(verifier.take(guest)) == []
    verifier.disconnect(lost)
    assert opened(verifier.take(guest)) == [1]
    verifier.step_until_idle()
    assert verifier.engine.num_open == 1


def test_long_prompt_is_prefilled_in_chunks_beside_the_proposals_of_others() -> None:
    verifier = VirtualVerifier(VerifierCoreConfig(prefill_chunk=64))
    drafter = VirtualDrafter(verifier, "busy", 0.7)
    drafter.open(open_request(1, max_tokens=200))
    verifier.run(0.2)
    first = len(verifier.steps)
    newcomer = verifier.welcome("newcomer")
    long_prompt = tuple(i % 250 for i in range(1000))
    verifier.deliver(newcomer, open_request(1, prompt=long_prompt))
    verifier.run(2.0)
    works = [batch.work for batch in verifier.steps[first:]]
    chunks = [sum(item.num_tokens for item in work if isinstance(item, Prefill)) for work in works]
    assert sum(chunks) == 1000
    assert max(chunks) == 64
    prefilling = [work for work, chunk in zip(works, chunks, strict=True) if chunk]
    num_shared = sum(any(isinstance(item, Verify) for item in work) for work in prefilling)
    assert num_shared > len(prefilling) / 3  # the other stream continued meanwhile
    verifier.run(30.0)
    assert drafter.texts[1] == target_only_text(open_request(1, max_tokens=200))


def test_short_prompt_overtakes_a_long_one() -> None:
    verifier = VirtualVerifier(VerifierCoreConfig(prefill_chunk=64))
    conn = verifier.welcome("edge")
    verifier.deliver(conn, open_request(1, prompt=(1,) * 1000))
    verifier.step()
    verifier.deliver(conn, open_request(2, prompt=(1,) * 30))
    batch = verifier.step()
    assert batch is not None
    assert batch.work == (Prefill(1, 34), Prefill(2, 30))


def test_a_single_prompt_gets_the_whole_chunk() -> None:
    verifier = VirtualVerifier(VerifierCoreConfig(prefill_chunk=100))
    verifier.deliver(verifier.welcome("edge"), open_request(1, prompt=(1,) * 250))
    verifier.step_until_idle()
    assert [batch.work for batch in verifier.steps] == [(Prefill(1, 100),), (Prefill(1, 100),), (Prefill(1, 50),)]


def test_prompts_get_the_tokens_that_proposals_leave_of_a_step() -> None:
    verifier = VirtualVerifier(VerifierCoreConfig(prefill_chunk=200, max_step_tokens=100))
    conn = verifier.welcome("edge")
    for stream in (1, 2, 3):
        verifier.deliver(conn, replace(open_request(stream, prompt=(1, 2)), mode=Mode.TARGET_ONLY))
    verifier.step()
    verifier.deliver(conn, open_request(4, prompt=(1,) * 250))
    chunks = [batch.work[-1] for batch in (verifier.step(), verifier.step()) if batch]
    assert chunks == [Prefill(4, 97), Prefill(4, 97)]


def test_a_full_step_still_holds_some_prompt_tokens() -> None:
    verifier = VirtualVerifier(VerifierCoreConfig(max_step_tokens=1))
    verifier.deliver(verifier.welcome("edge"), open_request(1, prompt=(1,) * 70))
    verifier.step_until_idle()
    assert [batch.work for batch in verifier.steps] == [(Prefill(1, 32),), (Prefill(1, 32),), (Prefill(1, 6),)]


def test_streams_beyond_max_admitted_wait_though_there_is_memory() -> None:
    verifier = VirtualVerifier(VerifierCoreConfig(max_admitted=2))
    conn = verifier.welcome("edge")
    for stream in (1, 2, 3):
        verifier.deliver(conn, replace(open_request(stream, max_tokens=3 * stream), mode=Mode.TARGET_ONLY))
    while verifier.step():
        assert verifier.engine.num_open <= 2
    finished = [message.stream for message in verifier.take(conn) if isinstance(message, Verdict) and message.finish]
    assert finished == [1, 2, 3]

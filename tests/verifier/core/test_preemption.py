"""Memory that grows: more streams at once, and streams that are preempted without a changed token."""

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from goodspeed.decoding.logit_changes import LogitChanges
from goodspeed.decoding.mode import Mode
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.toy_target import toy_info
from goodspeed.protocol.messages import Cancel, Opened
from goodspeed.testing.virtual_verifier import VirtualDrafter, VirtualVerifier, open_request, target_only_text
from goodspeed.verifier.core.batch import Batch, EndStream, OpenStream
from goodspeed.verifier.core.core_config import ClientConfig, VerifierCoreConfig
from goodspeed.verifier.core.message_handler import PREEMPTED_INTERVAL_S

GREEDY = Sampling()
COUPLED = Sampling(temperature=0.8, seed=7, rule=Rule.COUPLED)
LENGTH = 80
NUM_WHOLE = 4
"""Streams of LENGTH whose whole answers fit."""


def small(
    watermark: float = 0.02,
    cached: int = 2**30,
    clients: tuple[ClientConfig, ...] = (),
    **core: Any,
) -> VirtualVerifier:
    """A verifier with memory for NUM_WHOLE streams, which believes that answers have few tokens: 40 have ended so."""
    config = VerifierCoreConfig(growth_watermark=watermark, prefix_cache_tokens=cached, clients=clients, **core)
    info = toy_info(kv_capacity=NUM_WHOLE * (LENGTH + 16), kv_block=16)
    verifier = VirtualVerifier(config, info)
    drafter = VirtualDrafter(verifier, "short", 0.7)
    for stream in range(40):
        drafter.open(replace(open_request(stream, (1, 2, 3), LENGTH), end_tokens=tuple(range(info.vocab_size))))
    verifier.run(10.0)
    verifier.batches.clear()
    return verifier


def prompts(number: int) -> list[list[int]]:
    return [[i + 1, i + 2, i + 3] for i in range(number)]


def preempted(batches: Sequence[Batch]) -> list[int]:
    """Keys of the streams that were preempted."""
    return [
        update.stream
        for batch in batches
        for update in batch.updates
        if isinstance(update, EndStream) and update.is_preempted
    ]


def continued(batches: Sequence[Batch]) -> list[int]:
    """Keys of the streams that were opened with a part of their answer."""
    return [
        update.stream
        for batch in batches
        for update in batch.updates
        if isinstance(update, OpenStream) and update.spec.num_resumed
    ]


PENALISED = Sampling(logit_changes=LogitChanges(1.2, 0.5, 0.5, min_tokens=70))


@pytest.mark.parametrize("sampling", [GREEDY, COUPLED, PENALISED], ids=["greedy", "coupled", "penalised"])
@pytest.mark.parametrize("cached", [0, 2**30])
def test_no_text_changes_under_preemption_and_no_stream_is_preempted_twice(sampling: Sampling, cached: int) -> None:
    verifier = small(cached=cached)
    drafters = [VirtualDrafter(verifier, f"edge {i}", 0.7, lambda: 0.02) for i in range(4)]
    requests = [open_request(i, prompt, LENGTH, sampling) for i, prompt in enumerate(prompts(3))]
    for drafter in drafters:
        for request in requests:
            drafter.open(request)
    verifier.run(300.0)
    for drafter in drafters:
        assert drafter.texts == {request.stream: target_only_text(request) for request in requests}
        assert not drafter.errors
    keys, memory = preempted(verifier.batches), verifier.core.stats().memory
    assert len(keys) == memory.num_preemptions > 2
    assert len(continued(verifier.batches)) == len(keys)
    assert not set(keys) & set(continued(verifier.batches))
    assert (memory.num_used, memory.num_preempted) == (0, 0)
    assert memory.num_retained == verifier.engine.num_reserved


def test_without_a_watermark_whole_answers_are_reserved() -> None:
    verifier = small(watermark=0.0)
    conn = verifier.welcome("edge")
    for i in range(12):
        verifier.deliver(conn, open_request(i, (i,), LENGTH))
    load = verifier.core.stats().load
    assert (load.open_streams, load.queued_streams) == (NUM_WHOLE, 12 - NUM_WHOLE)
    assert load.kv_used == NUM_WHOLE * (LENGTH + 16)
    verifier.step_until_idle()
    assert verifier.core.stats().memory.num_preemptions == 0


def test_more_streams_are_open_at_once_if_their_answers_are_expected_to_be_short() -> None:
    verifier = small()
    conn = verifier.welcome("edge")
    for i in range(12):
        verifier.deliver(conn, open_request(i, (i,), LENGTH))
    assert verifier.core.stats().load.open_streams == 12


def test_without_experience_whole_answers_are_expected() -> None:
    verifier = VirtualVerifier(info=toy_info(kv_capacity=NUM_WHOLE * (LENGTH + 16), kv_block=16))
    conn = verifier.welcome("edge")
    for i in range(12):
        verifier.deliver(conn, open_request(i, (i,), LENGTH))
    assert verifier.core.stats().load.open_streams == NUM_WHOLE


def run_out(verifier: VirtualVerifier, conn: int) -> None:
    """Target-only streams until the latest two are preempted: all are worth the same, and grow in the same step."""
    for i in range(8):
        verifier.deliver(conn, replace(open_request(i, (i + 1, i + 2), LENGTH), mode=Mode.TARGET_ONLY))
    while not preempted(verifier.batches):
        assert verifier.step()
    assert verifier.core.stats().load.queued_streams == 2


def test_a_preempted_stream_can_be_cancelled() -> None:
    verifier = small()
    conn = verifier.welcome("edge")
    run_out(verifier, conn)
    for stream in (6, 7):
        verifier.deliver(conn, Cancel(stream, 0))
    assert verifier.core.stats().load.queued_streams == 0
    verifier.step_until_idle()
    opened = [update for batch in verifier.batches for update in batch.updates if isinstance(update, OpenStream)]
    assert [update.spec.client_stream for update in opened].count(7) == 1
    load = verifier.core.stats().load
    assert (load.open_streams, load.queued_streams, load.kv_used) == (0, 0, 0)


def test_a_preempted_stream_of_a_lost_link_ends_and_is_opened_again() -> None:
    verifier = small()
    drafter = VirtualDrafter(verifier, "edge", 0.7, lambda: 0.02)
    requests = [open_request(i, prompt, LENGTH, COUPLED) for i, prompt in enumerate(prompts(8))]
    for request in requests:
        drafter.open(request)
    while not preempted(verifier.batches):
        verifier.run(0.01)
    drafter.reconnect("edge")
    verifier.run(300.0)
    assert drafter.texts == {request.stream: target_only_text(request) for request in requests}


def test_a_proposal_that_arrives_while_its_stream_has_no_memory_is_verified_later() -> None:
    """The slow drafter's stream is worth least; it is preempted while the proposal is on its way for a second."""
    slow = ClientConfig(name="slow", weight=0.01)
    verifier = small(clients=(slow,), scheduler="fixed", draft_selection="arrival")
    drafter = VirtualDrafter(verifier, "slow", 1.0, lambda: 1.0)
    request = open_request(0, (50, 51), LENGTH)
    drafter.open(request)
    verifier.run(1.5)
    conn = verifier.welcome("fast")
    for i in range(9):
        verifier.deliver(conn, replace(open_request(i, (i + 1, i + 2), LENGTH), mode=Mode.TARGET_ONLY))
    while not preempted(verifier.batches):
        verifier.run(0.01)
    opened = [update.stream for batch in verifier.batches for update in batch.updates if isinstance(update, OpenStream)]
    assert preempted(verifier.batches)[0] == opened[0]
    (client,) = [client for client in verifier.core.stats().clients if client.name == "slow"]
    verifier.run(300.0)
    assert drafter.texts[0] == target_only_text(request)
    assert client.num_proposed >= client.num_accepted > 0.9 * client.num_proposed


@pytest.mark.parametrize("light", [0, 5])
def test_the_least_valuable_stream_is_preempted(light: int) -> None:
    clients = tuple(ClientConfig(name=f"edge {i}", weight=0.1 if i == light else 1.0) for i in range(8))
    verifier = small(clients=clients)
    conns = [verifier.welcome(f"edge {i}") for i in range(8)]
    for i, conn in enumerate(conns):
        verifier.deliver(conn, replace(open_request(i, (i + 1, i + 2), LENGTH), mode=Mode.TARGET_ONLY))
    while not preempted(verifier.batches):
        verifier.step()
    opened = [update.stream for update in verifier.batches[0].updates if isinstance(update, OpenStream)]
    assert preempted(verifier.batches)[0] == opened[light]


def test_drafters_of_preempted_streams_are_notified_every_few_seconds() -> None:
    verifier = small()
    conn = verifier.welcome("edge")
    run_out(verifier, conn)
    verifier.take(conn)
    verifier.now += PREEMPTED_INTERVAL_S
    replies = [message for _, message in verifier.core.on_time(verifier.now) if isinstance(message, Opened)]
    assert replies == [Opened(7, 0), Opened(6, 0)]
    assert not [message for _, message in verifier.core.on_time(verifier.now) if isinstance(message, Opened)]
    assert (verifier.core.wake_at() or 0.0) <= verifier.now + PREEMPTED_INTERVAL_S

"""Draft engines are replaced while streams run: every text is the target's own, and no round waits."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from tests.drafter.live import LiveVerifier, drafter_at, read, until

from goodspeed.decoding.draft import Draft, DraftRequest
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.drafter.core.engine_updates import DraftWork, EngineUpdate, StreamClosed, StreamCommitted, StreamOpened
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.drafter.draft_runner import DraftResult, DraftRunner, InlineDraftRunner, ThreadDraftRunner
from goodspeed.drafter.draft_swap import EngineStreams, SwappableDraft, SwappableDraftRunner
from goodspeed.drafter.server import DrafterServer
from goodspeed.engine.drafts import DraftConfig
from goodspeed.engine.toy_draft import ToyDraft
from goodspeed.errors import CheckpointError
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.testing.virtual_drafter import target_only_tokens

NUM_STREAMS = 8
NUM_SWAPS = 20
LONG = GenerationRequest(tuple(b"the quick brown"), max_tokens=360)
TEXT = [*LONG.tokens, *target_only_tokens(LONG)]
SAMPLINGS = (Sampling(), Sampling(0.8, seed=3, rule=Rule.COUPLED))
GREEDY = Sampling()
Host = Callable[[ToyDraft], DraftRunner]


class CheckedDraft(ToyDraft):
    """Counts its drafts, and checks that its streams have the tokens that the target has committed."""

    def __init__(self, acceptance_rate: float) -> None:
        super().__init__(acceptance_rate)
        self.num_drafts = 0

    def draft(self, requests: Sequence[DraftRequest]) -> list[Draft]:
        self.num_drafts += 1
        for request in requests:
            stream = self._streams[request.stream]
            if stream.sampling == GREEDY:
                assert stream.tokens == TEXT[: len(stream.tokens)]
        return super().draft(requests)


class SlowToOpen(CheckedDraft):
    """Waits for permission before it reads a stream."""

    def __init__(self, acceptance_rate: float) -> None:
        super().__init__(acceptance_rate)
        self.may_open = threading.Event()

    def open(self, stream: int, tokens: Sequence[int], sampling: Sampling) -> None:
        assert self.may_open.wait(20.0)
        super().open(stream, tokens, sampling)


async def drafted_twice(engine: CheckedDraft) -> None:
    await until(lambda: engine.num_drafts >= 2)


@pytest.mark.parametrize("host", [InlineDraftRunner, ThreadDraftRunner])
async def test_20_swaps_under_8_streams_change_no_text(host: Host) -> None:
    requests = [replace(LONG, sampling=SAMPLINGS[i % 4 // 3], max_tokens=220 + 20 * i) for i in range(NUM_STREAMS)]
    engines = [CheckedDraft(0.3 + 0.01 * i) for i in range(NUM_SWAPS + 1)]
    runner = SwappableDraftRunner(host(engines[0]))
    async with LiveVerifier().running() as verifier, drafter_at([verifier], runner=runner) as drafter:
        reading = [asyncio.create_task(read(drafter, request)) for request in requests]
        for before, engine in itertools.pairwise(engines):
            await drafted_twice(before)
            assert drafter.num_streams > 0
            await runner.swap(engine, host(engine))
        texts = await asyncio.gather(*reading)
    assert [text == target_only_tokens(request) for text, request in zip(texts, requests, strict=True)] == [
        True
    ] * NUM_STREAMS
    assert all(engine.num_drafts > 0 for engine in engines)
    assert all(not engine._streams for engine in engines[-1:])


async def test_no_round_waits_for_an_engine_that_is_slow_to_take_over() -> None:
    """While the new engine reads, every stream continues with proposals; then the new engine drafts."""
    first, second = CheckedDraft(0.7), SlowToOpen(0.7)
    runner = SwappableDraftRunner(ThreadDraftRunner(first))
    async with LiveVerifier().running() as verifier, drafter_at([verifier], runner=runner) as drafter:
        answers = [asyncio.create_task(_rounds_of(drafter, LONG)) for _ in range(NUM_STREAMS)]
        await until(lambda: first.num_drafts > 3)
        swapping = asyncio.create_task(runner.swap(second, ThreadDraftRunner(second)))
        num_before = first.num_drafts
        await until(lambda: first.num_drafts > num_before + 10)
        assert not swapping.done()
        second.may_open.set()
        await swapping
        after = first.num_drafts
        rounds = await asyncio.gather(*answers)
    assert first.num_drafts == after
    assert second.num_drafts > 0
    for text, proposed in rounds:
        assert text == target_only_tokens(LONG)
        assert all(num_proposed > 0 for num_proposed in proposed[1:-1])  # round 0 is the prefill's


async def _rounds_of(server: DrafterServer, request: GenerationRequest) -> tuple[list[int], list[int]]:
    """The answer, and how many tokens each of its rounds proposed."""
    text, proposed = list[int](), list[int]()
    with server.generate(request) as answer:
        async for committed in answer:
            text.extend(committed.tokens)
            proposed.append(committed.round.num_proposed)
    return text, proposed


async def test_idle_drafter_swaps_at_once() -> None:
    engine = CheckedDraft(0.9)
    runner = SwappableDraftRunner(InlineDraftRunner(ToyDraft(0.1)))
    async with LiveVerifier().running() as verifier, drafter_at([verifier], runner=runner) as drafter:
        await runner.swap(engine, InlineDraftRunner(engine))
        assert await read(drafter, replace(LONG, max_tokens=40)) == target_only_tokens(replace(LONG, max_tokens=40))
        assert engine.num_drafts > 0


async def test_engine_that_cannot_read_a_stream_does_not_take_over() -> None:
    class Unable(ToyDraft):
        def open(self, stream: int, tokens: Sequence[int], sampling: Sampling) -> None:
            raise CheckpointError(f"torn weights at stream {stream} of {len(tokens)} tokens, {sampling}")

    first = CheckedDraft(0.7)
    runner = SwappableDraftRunner(InlineDraftRunner(first))
    async with LiveVerifier().running() as verifier, drafter_at([verifier], runner=runner) as drafter:
        reading = asyncio.create_task(read(drafter, LONG))
        await until(lambda: first.num_drafts > 0)
        with pytest.raises(CheckpointError, match="torn weights"):
            await runner.swap(Unable(0.7), InlineDraftRunner(Unable(0.7)))
        assert await reading == target_only_tokens(LONG)


def test_missed_updates_bring_an_engine_to_the_present_state() -> None:
    streams = EngineStreams()
    streams.apply([StreamOpened(1, (5,), GREEDY), StreamOpened(2, (6, 7), GREEDY)])
    known = streams.num_tokens()
    streams.apply(
        [StreamCommitted(1, (8, 9)), StreamClosed(2), StreamOpened(3, (4,), GREEDY), StreamCommitted(3, (3,))]
    )
    missed = [StreamClosed(2), StreamCommitted(1, (8, 9)), StreamOpened(3, (4, 3), GREEDY)]
    assert list(streams.updates_since(known)) == missed
    assert list(streams.updates_since(streams.num_tokens())) == []


async def test_streams_that_open_and_end_meanwhile_reach_the_new_engine() -> None:
    """A stream that ends while the new engine reads is closed there; one that starts is opened."""
    second = SlowToOpen(0.5)
    runner = SwappableDraftRunner(InlineDraftRunner(ToyDraft(0.5)))
    runner.submit(DraftWork([StreamOpened(1, (5,), GREEDY), StreamOpened(2, (6,), GREEDY)], []), _nothing)
    swapping = asyncio.create_task(runner.swap(second, InlineDraftRunner(second)))
    await asyncio.sleep(0)
    runner.submit(DraftWork([StreamCommitted(1, (7,)), StreamClosed(2), StreamOpened(3, (8,), GREEDY)], []), _nothing)
    second.may_open.set()
    await swapping
    runner.submit(DraftWork([StreamCommitted(3, (9,))], []), _nothing)
    assert {key: stream.tokens for key, stream in second._streams.items()} == {1: [5, 7], 3: [8, 9]}


def _nothing(drafted: DraftResult) -> None:
    assert drafted.drafts == []


async def test_swap_keeps_what_was_learned_and_is_counted(tokenizer: Tokenizer) -> None:
    draft = SwappableDraft(DraftConfig(engine="table", table_slots=64), tokenizer)
    learned: list[EngineUpdate] = [
        StreamOpened(1, (1, 2), GREEDY),
        StreamCommitted(1, (3, 4, 5, 6)),
        StreamClosed(1),
    ]
    draft.runner.submit(DraftWork(learned, []), _nothing)
    await draft.swap(DraftConfig(engine="hybrid", table_slots=64))
    drafts: list[Draft] = []
    work = DraftWork([StreamOpened(2, (9, 2, 3), GREEDY)], [DraftRequest(2, 3)])
    draft.runner.submit(work, lambda drafted: drafts.extend(drafted.drafts))
    assert drafts[0].tokens == (4, 5, 6)
    assert (draft.num_swaps, draft.config.name) == (1, "hybrid")


async def test_engine_stays_if_the_new_one_cannot_be_loaded(tokenizer: Tokenizer) -> None:
    draft = SwappableDraft(DraftConfig(engine="hybrid"), tokenizer)
    with pytest.raises(CheckpointError, match="no-such-file"):
        await draft.swap(DraftConfig(table="no-such-file"))
    assert (draft.num_swaps, draft.config) == (0, DraftConfig(engine="hybrid"))

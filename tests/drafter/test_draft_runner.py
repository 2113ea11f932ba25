"""The thread of the draft engine reads long texts between drafts."""

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from goodspeed.decoding.draft import DraftRequest
from goodspeed.decoding.sampling import Sampling
from goodspeed.drafter.core.engine_updates import DraftWork, StreamOpened
from goodspeed.drafter.draft_runner import DraftResult, ThreadDraftRunner
from goodspeed.engine.calibration import Calibration
from goodspeed.engine.draft_model import PIECE, DraftModelRunner, StreamInput
from goodspeed.engine.hybrid import DraftKnowledge, HybridDraft
from goodspeed.engine.lookup import LookupSource
from goodspeed.engine.neural_source import NeuralSource

PATTERN = [3, 1, 4, 1, 5, 9, 2, 6]
VOCAB = 16
LONG = PATTERN * PIECE


class CountingModel:
    """A draft model that is sure of token 7."""

    vocab_size, max_context = VOCAB, 4096

    def __init__(self, is_broken: bool = False) -> None:
        self.num_read = 0
        self.has_caught_up = threading.Event()
        self._is_broken = is_broken

    def open(self, stream: int, capacity: int) -> None: ...

    def run(self, inputs: Sequence[StreamInput]) -> npt.NDArray[np.float32]:
        if self._is_broken:
            raise RuntimeError("broken")
        self.num_read += sum(len(new.tokens) for new in inputs)
        if self.num_read == len(LONG) - PIECE:
            self.has_caught_up.set()
        rows = np.zeros((len(inputs), VOCAB), dtype=np.float32)
        rows[:, 7] = 50.0
        return rows

    def close(self, stream: int) -> None: ...


def engine_with(model: CountingModel) -> HybridDraft:
    knowledge = DraftKnowledge([LookupSource()], Calibration())
    return HybridDraft(knowledge, NeuralSource(DraftModelRunner(model, VOCAB)))


async def run(runner: ThreadDraftRunner, work: DraftWork) -> DraftResult:
    done: asyncio.Future[DraftResult] = asyncio.get_running_loop().create_future()
    runner.submit(work, done.set_result)
    return await done


async def test_first_draft_does_not_wait_for_a_long_prompt() -> None:
    model = CountingModel()
    runner = ThreadDraftRunner(engine_with(model))
    first = await run(runner, DraftWork([StreamOpened(1, tuple(LONG), Sampling())], [DraftRequest(1, 4)]))
    assert first.drafts[0].tokens == (3, 1, 4, 1), "prompt lookup drafts meanwhile"
    assert await asyncio.to_thread(model.has_caught_up.wait, 20.0)
    runner.close()


async def test_failure_while_reading_ends_drafting_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    runner = ThreadDraftRunner(engine_with(CountingModel(is_broken=True)))
    opened = StreamOpened(1, tuple(LONG), Sampling())
    await run(runner, DraftWork([opened], []))
    result = await run(runner, DraftWork([], [DraftRequest(1, 4)]))
    assert (result.has_failed, result.drafts[0].tokens) == (True, ())
    assert [record.getMessage() for record in caplog.records] == [
        "the draft engine has failed; nothing is drafted from now on"
    ]
    caplog.clear()
    runner.close()

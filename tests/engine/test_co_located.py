"""Co-located drafts: what a client taught stays its own, memory is bounded, and a failure ends drafts, not steps."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.engine.test_draft_model import ToyReaderModel

from goodspeed.decoding.draft import Draft, DraftRequest, StreamKey
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.calibration import Calibration
from goodspeed.engine.co_located import (
    CO_LOCATED_ENGINES,
    CoLocatedConfig,
    FailSafeCoLocatedDrafts,
    HybridCoLocatedDrafts,
    co_located_drafts,
    interpreted_drafts,
)
from goodspeed.engine.draft_memory import DraftMemory
from goodspeed.engine.draft_model import MIN_CAPACITY, DraftModelRunner
from goodspeed.engine.hybrid import DraftKnowledge
from goodspeed.engine.interface import CoLocatedDrafts, StreamSpec, TargetInfo
from goodspeed.engine.lookup import LookupSource
from goodspeed.engine.neural_source import NeuralSource
from goodspeed.engine.ngram_table import NGramSource, NGramTable
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.toy_model import TOY_VOCAB_SIZE

ANSWER = [3, 1, 4, 1, 5, 9, 2, 6]
INFO = TargetInfo("toy", "f", "no such tokenizer", 259, 1000, 10_000)


COMPILED = "goodspeed.engine.compiled_hybrid"


@pytest.fixture(params=["compiled", "interpreted"], autouse=True)
def engine_kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every test runs with numba, and as if its import failed."""
    kind: str = request.param
    if kind == "compiled":
        pytest.importorskip("numba")
    else:
        monkeypatch.setitem(sys.modules, COMPILED, None)
    return kind


def spec(tokens: Sequence[int], client: str = "a") -> StreamSpec:
    return StreamSpec(tuple(tokens), Sampling(), 500, client=client)


def drafts_of(engine: str = "hybrid", *, max_clients: int = 64, shared: bool = False) -> CoLocatedDrafts:
    config = CoLocatedConfig(engine=engine, max_clients=max_clients, shared=shared)
    drafts = co_located_drafts(config, TargetConfig(), INFO)
    assert drafts
    return drafts


def drafted(drafts: CoLocatedDrafts, stream: StreamKey, num_tokens: int = 4) -> tuple[int, ...]:
    return drafts.draft([DraftRequest(stream, num_tokens)])[0].tokens


def teach(drafts: CoLocatedDrafts, stream: StreamKey, client: str) -> None:
    """Run one stream of the client whose answer is ANSWER."""
    drafts.open(stream, spec([7], client))
    drafts.draft([DraftRequest(stream, 1)])
    drafts.commit(stream, ANSWER)
    drafts.draft([DraftRequest(stream, 1)])
    drafts.close(stream)


def test_the_interpreter_drafts_where_numba_does_not_work(engine_kind: str, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("numba")
    drafts_of()
    warnings = [record.getMessage() for record in caplog.records]
    failed = "the extra 'fast' does not work; the verifier drafts by the interpreter"
    assert warnings == ([] if engine_kind == "compiled" else [failed])


@pytest.mark.parametrize("engine", ["hybrid", "lookup"])
def test_copies_tokens_of_the_streams_own_text(engine: str) -> None:
    drafts = drafts_of(engine)
    drafts.open(1, spec(ANSWER))
    drafts.commit(1, ANSWER[:3])
    assert drafted(drafts, 1) == tuple(ANSWER[3:7])


def test_a_client_learns_from_its_own_answers() -> None:
    drafts = drafts_of()
    teach(drafts, 1, "a")
    drafts.open(2, spec([8, *ANSWER[:3]], "a"))
    assert drafted(drafts, 2) == tuple(ANSWER[3:7])


def test_no_trace_of_one_client_is_in_the_drafts_of_another() -> None:
    """Every draft of client b, confidences included, is what it is without client a."""
    rng = np.random.default_rng(0)
    both, single = drafts_of(), drafts_of()
    for stream in range(10):
        answer = rng.integers(0, 5, 12).tolist()
        teach(both, 100 + stream, "a")
        for drafts in (both, single):
            drafts.open(stream, spec(answer[:3], "b"))
        for token in answer[3:]:
            request = DraftRequest(stream, 5, 0.05)
            assert both.draft([request]) == single.draft([request])
            both.commit(stream, [token])
            single.commit(stream, [token])


def test_shared_learning_shows_in_every_clients_drafts() -> None:
    drafts = drafts_of(shared=True)
    teach(drafts, 1, "a")
    drafts.open(2, spec([8, *ANSWER[:3]], "b"))
    assert drafted(drafts, 2) == tuple(ANSWER[3:7])


def hybrid_drafts(max_clients: int) -> HybridCoLocatedDrafts[DraftKnowledge]:
    def new_knowledge() -> DraftKnowledge:
        return DraftKnowledge([LookupSource(), NGramSource(NGramTable(64))], Calibration())

    return interpreted_drafts(new_knowledge, max_clients)


def test_client_that_opened_a_stream_longest_ago_is_forgotten() -> None:
    drafts = hybrid_drafts(max_clients=2)
    for stream, client in enumerate("abac"):
        teach(drafts, stream, client)
    assert drafts.num_clients == 2
    for stream, client, known in ((10, "a", True), (11, "b", False)):
        drafts.open(stream, spec([8, *ANSWER[:3]], client))
        assert bool(drafted(drafts, stream)) == known


def test_clients_with_streams_are_not_forgotten_for_a_newcomer() -> None:
    drafts = hybrid_drafts(max_clients=2)
    for stream, client in enumerate("ab"):
        teach(drafts, stream, client)
        drafts.open(10 + stream, spec([8, *ANSWER[:3]], client))
    teach(drafts, 2, "c")
    assert drafts.num_clients == 2
    assert drafted(drafts, 10) == drafted(drafts, 11) == tuple(ANSWER[3:7])
    drafts.open(12, spec([8, *ANSWER[:3]], "c"))
    assert drafted(drafts, 12) == ()


def test_streams_of_several_clients_are_drafted_in_one_call() -> None:
    drafts = drafts_of()
    for stream, client in ((1, "a"), (2, "b"), (3, "a")):
        drafts.open(stream, spec(ANSWER[stream:] + ANSWER[: stream + 2], client))
    requests = [DraftRequest(stream, 3) for stream in (3, 1, 2)]
    assert drafts.draft(requests) == [drafts.draft([request])[0] for request in requests]
    assert [draft.tokens[0] for draft in drafts.draft(requests)] == [ANSWER[5], ANSWER[3], ANSWER[4]]


def test_starts_from_the_table_and_leaves_it_as_it_is(tmp_path: Path) -> None:
    path, table = tmp_path / "base.npz", NGramTable(64)
    table.learn([2, 3, 4, 5, 6], 0)
    DraftMemory(table, INFO.vocab_size).save(path)
    drafts = co_located_drafts(CoLocatedConfig(table=str(path)), TargetConfig(), INFO)
    assert drafts
    drafts.open(1, spec([9, 2, 3], "a"))
    drafts.open(2, spec([9, 2, 3], "b"))
    assert drafted(drafts, 1, 3) == (4, 5, 6)
    drafts.commit(1, [8, 2, 3, 8, 2, 3, 8])
    drafts.close(1)
    drafts.open(3, spec([9, 2, 3], "a"))
    assert drafted(drafts, 3, 1) == (8,)
    assert drafted(drafts, 2, 3) == (4, 5, 6)


class FailingDrafts:
    """Fails in its second draft."""

    num_calls = 0

    def open(self, stream: StreamKey, spec: StreamSpec) -> None: ...

    def draft(self, requests: Sequence[DraftRequest]) -> list[Draft]:
        self.num_calls += 1
        if self.num_calls == 2:
            raise MemoryError("no memory")
        return [Draft((1,), (0.5,)) for _ in requests]

    def commit(self, stream: StreamKey, tokens: Sequence[int]) -> None: ...

    def close(self, stream: StreamKey) -> None: ...


def test_nothing_is_drafted_after_a_failure() -> None:
    failing = FailingDrafts()
    drafts = FailSafeCoLocatedDrafts(failing)
    drafts.open(1, spec([1]))
    requests = [DraftRequest(1, 2), DraftRequest(1, 2)]
    assert [draft.tokens for draft in drafts.draft(requests)] == [(1,), (1,)]
    for _ in range(3):
        assert [draft.tokens for draft in drafts.draft(requests)] == [(), ()]
        drafts.commit(1, [1])
    drafts.close(1)
    assert failing.num_calls == 2
    assert not drafts.is_up


def test_without_memory_for_the_model_lookup_drafts_alone_and_that_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    neural = NeuralSource(DraftModelRunner(ToyReaderModel(memory=MIN_CAPACITY), TOY_VOCAB_SIZE))
    drafts = FailSafeCoLocatedDrafts(
        interpreted_drafts(lambda: DraftKnowledge([LookupSource()], Calibration()), 4, neural=neural)
    )
    text = [1, 2, 3, 4, 5, 6, 1, 2, 3]
    for stream in (1, 2):
        drafts.open(stream, spec(text))
    draft = drafts.draft([DraftRequest(1, 3), DraftRequest(2, 3)])
    assert draft[1].tokens == (4, 5, 6)
    assert (drafts.is_up, drafts.num_without_memory) == (True, 1)
    drafts.draft([DraftRequest(2, 3)])
    assert [record.getMessage() for record in caplog.records] == ["no memory for the draft model's cache"]


def test_engine_none_drafts_nothing() -> None:
    assert co_located_drafts(CoLocatedConfig(engine="none"), TargetConfig(), INFO) is None
    assert set(CO_LOCATED_ENGINES) == {"hybrid", "lookup", "none"}

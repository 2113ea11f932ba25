"""The compiled hybrid drafts what the interpreted one does: tokens and confidences to the bit."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

pytest.importorskip("numba")

from goodspeed.decoding.draft import Draft, DraftRequest
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine import compiled_hybrid
from goodspeed.engine.calibration import Calibration
from goodspeed.engine.compiled_hybrid import CompiledHybridDraft, CompiledKnowledge, table_array
from goodspeed.engine.hybrid import DraftKnowledge, HybridDraft
from goodspeed.engine.lookup import INDEXED_TOGETHER, LookupSource
from goodspeed.engine.ngram_table import NGramSource, NGramTable

SLOTS = 64  # so few that contexts are evicted
STREAM = 1


def repetitive_text(num_phrases: int, seed: int = 0) -> list[int]:
    """Phrases that come again, whole or in part, with loops of one token between them."""
    rng = np.random.default_rng(seed)
    phrases = rng.integers(1, 40_000, (12, 9)).tolist()
    text = []
    for which in rng.integers(0, 12, num_phrases):
        text += phrases[which][: rng.integers(3, 10)] + [7] * int(rng.integers(0, 4))
    return text


class BothHybrids:
    """The two engines, from the same table and calibration."""

    def __init__(self, table: NGramTable, calibration: Calibration) -> None:
        knowledge = DraftKnowledge([LookupSource(), NGramSource(NGramTable(SLOTS, table))], Calibration(calibration))
        self.interpreted = HybridDraft(knowledge)
        self.compiled = CompiledHybridDraft()
        self.knowledge = CompiledKnowledge(SLOTS, table_array(table), calibration)

    def open(self, tokens: Sequence[int], sampling: Sampling) -> None:
        self.interpreted.open(STREAM, tokens, sampling)
        self.compiled.open_with(self.knowledge, STREAM, tokens, sampling)

    def draft(self, num_tokens: int, min_survival: float, after: tuple[int, ...] = ()) -> Draft:
        request = DraftRequest(STREAM, num_tokens, min_survival, after)
        (draft,) = self.interpreted.draft([request])
        assert self.compiled.draft([request]) == [draft]
        return draft

    def commit(self, tokens: Sequence[int]) -> None:
        self.interpreted.commit(STREAM, tokens)
        self.compiled.commit(STREAM, tokens)

    def close(self) -> None:
        self.interpreted.close(STREAM)
        self.compiled.close(STREAM)


def learned() -> Iterator[BothHybrids]:
    """Engines that know nothing, and engines that start from a table and a calibration."""
    yield BothHybrids(NGramTable(SLOTS), Calibration())
    table, calibration = NGramTable(4 * SLOTS), Calibration()
    table.learn(repetitive_text(60), 0)
    before = HybridDraft(DraftKnowledge([LookupSource(), NGramSource(table)], calibration))
    text = repetitive_text(60, seed=1)
    before.open(STREAM, text[:9], Sampling())
    for start in range(9, len(text), 2):
        before.draft([DraftRequest(STREAM, 4)])
        before.commit(STREAM, text[start : start + 2])
    assert len(calibration) > 20
    yield BothHybrids(table, calibration)


@pytest.mark.parametrize("temperature", [0.0, 0.3, 0.7, 1.0])
def test_drafts_and_confidences_are_the_same(temperature: float) -> None:
    rng, num_drafted, num_empty = np.random.default_rng(3), 0, 0
    rule = Rule.COUPLED if temperature else Rule.GREEDY
    for hybrids in learned():
        for number in range(4):
            text = repetitive_text(40, seed=number % 2)
            start = int(rng.integers(0, 20))
            hybrids.open(text[:start], Sampling(temperature=temperature, rule=rule))
            while start < len(text):
                draft = hybrids.draft(int(rng.integers(0, 9)), float(rng.choice([0.0, 0.02, 0.3])))
                num_drafted, num_empty = num_drafted + len(draft.tokens), num_empty + (not draft.tokens)
                committed = int(rng.integers(1, 6))
                hybrids.commit(text[start : start + committed])
                start += committed
            hybrids.close()
    assert num_drafted > 500
    assert num_empty > 20


def test_drafts_that_continue_given_tokens_are_the_same() -> None:
    rng = np.random.default_rng(4)
    for hybrids in learned():
        text = repetitive_text(80)
        hybrids.open(text[:30], Sampling())
        for start in range(30, len(text) - 8, 3):
            draft = hybrids.draft(4, 0.0)
            forced = draft.tokens[: rng.integers(0, 5)] + tuple(rng.integers(1, 9, rng.integers(0, 3)).tolist())
            hybrids.draft(4, 0.05, forced)
            hybrids.commit(text[start : start + 3])


def test_a_long_prefix_is_indexed_from_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_hybrid, "INDEXED_TOGETHER", INDEXED_TOGETHER)
    rng = np.random.default_rng(5)
    once = rng.integers(10_000, 30_000, 20).tolist()
    filler = rng.permutation(5 * INDEXED_TOGETHER // 2).tolist()
    hybrids = BothHybrids(NGramTable(SLOTS), Calibration())
    hybrids.open(once + filler, Sampling())
    assert hybrids.draft(4, 0.0).tokens == ()
    hybrids.commit(once[:9])
    hybrids.commit(once[9:12])
    assert hybrids.draft(4, 0.0).tokens == tuple(once[12:16])


def test_the_base_table_does_not_change() -> None:
    table = NGramTable(SLOTS)
    table.learn(repetitive_text(20), 0)
    base = table_array(table)
    before = base.copy()
    engine = CompiledHybridDraft()
    engine.open_with(CompiledKnowledge(SLOTS, base, Calibration()), STREAM, [1, 2, 3], Sampling())
    engine.commit(STREAM, repetitive_text(30, seed=2))
    engine.close(STREAM)
    assert np.array_equal(base, before)

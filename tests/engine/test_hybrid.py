"""The hybrid: best source per token, calibrated, learning from what is committed and from nothing else."""

from collections.abc import Sequence

import numpy as np
import pytest

from goodspeed.decoding.draft import DraftRequest
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.calibration import Calibration
from goodspeed.engine.draft_source import EVIDENCE_BITS, PackedGuess, Prefix
from goodspeed.engine.hybrid import DraftKnowledge, HybridDraft
from goodspeed.engine.lookup import LookupSource
from goodspeed.engine.ngram_table import NGramSource, NGramTable

PATTERN = [3, 1, 4, 1, 5, 9, 2, 6]


class ConstantSource:
    """Always guesses one token, with one kind of evidence."""

    def __init__(self, token: int, evidence: int = 1, prior: float = 0.5, decisive_below: int = 0) -> None:
        self.decisive_below = decisive_below
        self.num_guesses = 0
        self.packed = token << EVIDENCE_BITS | evidence
        self.priors = [prior] * (evidence + 1)

    def open(self, prefix: Prefix) -> "ConstantSource":  # noqa: ARG002
        return self

    def guess(self) -> PackedGuess:
        self.num_guesses += 1
        return self.packed

    def commit(self) -> None: ...

    def close(self) -> None: ...


def hybrid() -> HybridDraft:
    return HybridDraft(DraftKnowledge([LookupSource(), NGramSource(NGramTable(2**10))], Calibration()))


def draft(engine: HybridDraft, num_tokens: int, min_survival: float = 0.0, stream: int = 1) -> tuple[int, ...]:
    return engine.draft([DraftRequest(stream, num_tokens, min_survival)])[0].tokens


def test_lookup_copies_tokens_of_the_prompt() -> None:
    engine = hybrid()
    engine.open(1, PATTERN * 2 + PATTERN[:3], Sampling())
    assert draft(engine, 5) == tuple(PATTERN[3:])


def test_learns_from_other_streams_answers() -> None:
    engine = hybrid()
    engine.open(1, [7], Sampling())
    engine.commit(1, PATTERN)
    engine.close(1)
    engine.open(2, [8, *PATTERN[:2]], Sampling())
    assert draft(engine, 3, stream=2) == (4, 1, 5)


def test_commit_drops_the_draft() -> None:
    engine, fresh = (
        HybridDraft(DraftKnowledge([LookupSource()], Calibration())),
        HybridDraft(DraftKnowledge([LookupSource()], Calibration())),
    )
    engine.open(1, PATTERN * 2 + PATTERN[:3], Sampling())
    assert draft(engine, 4) == (1, 5, 9, 2)
    engine.commit(1, [1, 5, 8, 4])
    fresh.open(1, [*PATTERN * 2, *PATTERN[:3], 1, 5, 8, 4], Sampling())
    assert draft(engine, 6) == draft(fresh, 6)


def test_source_that_is_right_more_often_wins() -> None:
    engine = HybridDraft(DraftKnowledge([ConstantSource(1), ConstantSource(2)], Calibration()))
    engine.open(1, [0], Sampling())
    for i in range(200):
        engine.draft([DraftRequest(1, 1)])
        engine.commit(1, [2 if i % 4 else 1])
    drafted = engine.draft([DraftRequest(1, 1)])[0]
    assert drafted.tokens == (2,)
    assert abs(drafted.confidences[0] - 0.75) < 0.05


def test_agreement_is_counted_apart_from_dissent() -> None:
    calibration = Calibration()
    agreeing = HybridDraft(DraftKnowledge([ConstantSource(1), ConstantSource(1)], calibration))
    differing = HybridDraft(DraftKnowledge([ConstantSource(1), ConstantSource(2)], calibration))
    for engine, answer in ((agreeing, 1), (differing, 3)):
        engine.open(1, [0], Sampling())
        for _ in range(100):
            engine.draft([DraftRequest(1, 1)])
            engine.commit(1, [answer])
    assert agreeing.draft([DraftRequest(1, 1)])[0].confidences[0] > 0.9
    assert differing.draft([DraftRequest(1, 1)])[0].confidences[0] < 0.1


@pytest.mark.parametrize(("evidence", "is_asked"), [(4, False), (5, True)])
def test_sources_after_a_decisive_guess_are_not_asked(evidence: int, is_asked: bool) -> None:
    sources = [ConstantSource(1, evidence, prior=0.3, decisive_below=5), ConstantSource(2, prior=0.9)]
    engine = HybridDraft(DraftKnowledge(sources, Calibration()))
    engine.open(1, [0], Sampling())
    assert draft(engine, 3) == ((2, 2, 2) if is_asked else (1, 1, 1))
    assert sources[1].num_guesses == (3 if is_asked else 0)


class CountingSource:
    """A batched source that counts the prefixes that it was called with."""

    num_asked = 0
    num_without_memory = 0
    priors = (0.5, 0.6)

    def open(self, prefix: Prefix) -> None: ...

    def read_later(self) -> None: ...

    def catch_up(self) -> bool:
        return False

    def guesses(self, prefixes: Sequence[Prefix]) -> list[PackedGuess]:
        self.num_asked += len(prefixes)
        return [6 << EVIDENCE_BITS | 1 for _ in prefixes]

    def close(self, prefix: Prefix) -> None: ...


def test_draft_model_runs_only_where_the_other_sources_are_not_confident() -> None:
    neural = CountingSource()
    engine = HybridDraft(DraftKnowledge([ConstantSource(5, prior=0.9)], Calibration()), neural)
    engine.open(1, [0], Sampling())
    assert draft(engine, 4) == (5, 5, 5, 5)
    assert neural.num_asked == 0
    for _ in range(60):
        draft(engine, 1)
        engine.commit(1, [6])
    assert draft(engine, 4) == (6, 6, 6, 6)
    assert neural.num_asked > 50


def test_nothing_is_learned_beyond_the_first_difference() -> None:
    """The second draft token would be right every time, but stands on a wrong first one: no evidence either way."""
    engine = HybridDraft(DraftKnowledge([ConstantSource(1)], Calibration()))
    engine.open(1, [0], Sampling())
    for _ in range(50):
        engine.draft([DraftRequest(1, 4)])
        engine.commit(1, [2])
    buckets = engine.calibration.arrays()["counts"]
    assert np.all(buckets[:, 0] == 0)
    assert np.all(buckets[:, 1] == 50)


def test_calibration_counts_the_token_at_which_confidence_ended_the_draft() -> None:
    """A kind of evidence that was unlucky at first must be able to come back."""
    engine = HybridDraft(DraftKnowledge([ConstantSource(1, prior=0.05)], Calibration()))
    engine.open(1, [0], Sampling())
    for _ in range(50):
        assert draft(engine, 4, min_survival=0.5) in {(), (1,), (1, 1), (1, 1, 1), (1, 1, 1, 1)}
        engine.commit(1, [1])
    assert draft(engine, 4, min_survival=0.5) == (1, 1, 1, 1)


def observations(engine: HybridDraft) -> list[int]:
    """How often the coarsest kind of evidence was right, and how often it was observed."""
    counts = engine.calibration.arrays()["counts"]
    return [int(counts[0, 0]), int(counts[0, 1])]


def test_calibration_learns_from_all_parts_of_a_continued_draft() -> None:
    engine = HybridDraft(DraftKnowledge([ConstantSource(1)], Calibration()))
    engine.open(1, [0], Sampling())
    engine.draft([DraftRequest(1, 2)])
    engine.draft([DraftRequest(1, 1, after=(1, 1))])
    engine.draft([DraftRequest(1, 1, after=(1, 1, 1))])
    engine.commit(1, [1, 1])
    assert observations(engine) == [2, 2]
    engine.commit(1, [1, 2])
    assert observations(engine) == [3, 4]


def test_calibration_learns_nothing_from_tokens_of_others() -> None:
    """The candidates at the position of the first imposed token count; none were drafted at the next one."""
    engine = HybridDraft(DraftKnowledge([ConstantSource(1)], Calibration()))
    engine.open(1, [0], Sampling())
    engine.draft([DraftRequest(1, 3)])
    engine.draft([DraftRequest(1, 2, after=(1, 5, 6))])
    engine.commit(1, [1, 5, 6, 1, 2])
    assert observations(engine) == [2, 4]


@pytest.mark.parametrize("rule", [Rule.COUPLED, Rule.REJECTION])
def test_temperatures_are_calibrated_apart(rule: Rule) -> None:
    engine = HybridDraft(DraftKnowledge([ConstantSource(1)], Calibration()))
    engine.open(1, [0], Sampling())
    engine.open(2, [0], Sampling(temperature=1.0, rule=rule))
    for _ in range(100):
        engine.draft([DraftRequest(1, 1), DraftRequest(2, 1)])
        engine.commit(1, [1])
        engine.commit(2, [0])
    greedy, sampled = engine.draft([DraftRequest(1, 1), DraftRequest(2, 1)])
    assert greedy.confidences[0] > 0.9
    assert sampled.confidences[0] < 0.1


def test_confidences_are_calibrated_on_a_markov_text() -> None:
    """Expected calibration error below 0.05 over 4,000 tokens of a random order-1 source."""
    rng = np.random.default_rng(0)
    next_probs = rng.dirichlet(np.full(30, 0.08), size=30)
    engine, pairs = hybrid(), []
    tokens = [0]
    engine.open(1, tokens, Sampling())
    for i in range(4000):
        drafted = engine.draft([DraftRequest(1, 1)])[0]
        tokens.append(int(rng.choice(30, p=next_probs[tokens[-1]])))
        if drafted.tokens and i > 500:
            pairs.append((drafted.confidences[0], drafted.tokens[0] == tokens[-1]))
        engine.commit(1, tokens[-1:])
    confidences, is_right = np.array(pairs).T
    bins = np.digitize(confidences, np.linspace(0.1, 0.9, 9))
    error = sum(abs(np.sum((confidences - is_right)[bins == b])) for b in range(10)) / len(pairs)
    assert error < 0.05
    assert is_right.mean() > 0.3

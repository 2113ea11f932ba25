"""The rejection rule under a constraint, as statistics: texts have the distribution of the constrained target.

The world is small enough to know every text's probability: a pattern with 24 texts of 2 to 4 bytes.
"""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from goodspeed.decoding.constraint import Constraint, ConstraintKind
from goodspeed.decoding.distribution import distribution
from goodspeed.decoding.draft import Draft, DraftRequest, SparseProbs
from goodspeed.decoding.rules import draft_probs_of, draw
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.grammar.compiler import GrammarCompiler
from goodspeed.engine.grammar.constrained_engine import ConstrainedDraftEngine
from goodspeed.engine.interface import DraftEngine
from goodspeed.engine.null_draft import NullDraft
from goodspeed.engine.reference import ReferenceRequest, speculate
from goodspeed.engine.toy_model import END_TOKEN, TOY_VOCAB_SIZE, ToyModel
from goodspeed.engine.toy_tokenizer import toy_tokenizer
from goodspeed.models.tokenizer import Tokenizer

Tokens = tuple[int, ...]
Rows = npt.NDArray[np.float32]

PROMPT = tuple(b"go")
PATTERN = "[abc]([ade]|x[bc]|)c?"
TEXTS = [
    first + middle + last
    for first, middle, last in itertools.product("abc", ["a", "d", "e", "xb", "xc", ""], ["", "c"])
]
SAMPLING = Sampling(3.0, rule=Rule.REJECTION, constraint=Constraint(ConstraintKind.REGEX, PATTERN))
NUM_TEXTS = 1500
SOUND = 1e-3  # a sound rule's p-value is above (seeds are fixed: it either is or is not)
BROKEN = 1e-6  # a planted bug's is below


class SmallModel(ToyModel):
    """A toy whose end token is likely, with its rows kept."""

    def __init__(self, seed: int) -> None:
        super().__init__(TOY_VOCAB_SIZE, seed)
        self.kept = cache(self._row)

    def row(self, tokens: Sequence[int]) -> Rows:
        return self.kept(tuple(tokens[-4:]))

    def _row(self, tokens: Tokens) -> Rows:
        row = super().row(tokens)
        row[END_TOKEN] += 9.0
        return row


TARGET, DRAFT = SmallModel(1), SmallModel(2)


class SampledDraft(NullDraft):
    """Draws from a draft model that knows no constraint: about half of its tokens are not allowed."""

    def __init__(self) -> None:
        self._streams: dict[int, tuple[Sampling, list[int]]] = {}

    def open(self, stream: int, tokens: Sequence[int], sampling: Sampling) -> None:
        self._streams[stream] = sampling, list(tokens)

    def commit(self, stream: int, tokens: Sequence[int]) -> None:
        self._streams[stream][1].extend(tokens)

    def draft(self, requests: Sequence[DraftRequest]) -> list[Draft]:
        return [self._draft(request) for request in requests]

    def _draft(self, request: DraftRequest) -> Draft:
        sampling, committed = self._streams[request.stream]
        tokens, probs = [*committed, *request.after], list[SparseProbs]()
        for _ in range(request.max_tokens):
            probs.append(draft_probs_of(DRAFT.row(tokens), sampling, 8))
            tokens.append(draw(probs[-1], sampling, len(tokens), len(committed)))
        drafted = tuple(tokens[len(tokens) - request.max_tokens :])
        return Draft(drafted, (0.5,) * len(drafted), tuple(probs))


class CuttingDraft(SampledDraft):
    """The planted bug: a drawn token that is not allowed is cut, so whether it is proposed depends on the token."""

    def __init__(self, grammars: GrammarCompiler) -> None:
        super().__init__()
        self._grammars = grammars

    def _draft(self, request: DraftRequest) -> Draft:
        assert SAMPLING.constraint is not None
        drafted = super()._draft(request)
        answer = self._streams[request.stream][1][len(PROMPT) :]
        matcher = self._grammars.matcher(SAMPLING.constraint, (END_TOKEN,), answer)
        for i, token in enumerate(drafted.tokens):
            if not matcher.is_end(token) and not matcher.advance(token):
                return drafted.part(0, i)
        return drafted


@pytest.fixture(scope="module")
def grammars(tmp_path_factory: pytest.TempPathFactory) -> GrammarCompiler:
    folder = tmp_path_factory.mktemp("toy")
    toy_tokenizer(folder)
    tokenizer = Tokenizer.load(folder)
    return GrammarCompiler(tokenizer.to_json(), tokenizer.vocab_size, (END_TOKEN,))


def expected_probs(grammars: GrammarCompiler) -> dict[str, float]:
    """The probability of each text under the constrained target."""
    assert SAMPLING.constraint is not None
    probs = {}
    for text in TEXTS:
        prob, tokens = 1.0, (*text.encode(), END_TOKEN)
        for i, token in enumerate(tokens):
            row = TARGET.row((*PROMPT, *tokens[:i])).copy()
            row[~grammars.matcher(SAMPLING.constraint, (END_TOKEN,), tokens[:i]).allowed()] = -np.inf
            target = distribution(row, SAMPLING)
            prob *= float(target.probs()[np.searchsorted(target.token_ids, token)])
        probs[text] = prob
    return probs


def p_value(engine: DraftEngine, grammars: GrammarCompiler) -> float:
    """Pearson's, of NUM_TEXTS texts; texts that are expected less than 5 times are one class."""
    found: Counter[str] = Counter()
    for seed in range(NUM_TEXTS):
        request = ReferenceRequest(PROMPT, 8, replace(SAMPLING, seed=seed), (END_TOKEN,), grammars)
        answer = [token for chunk in speculate(TARGET, engine, request, 3) for token in chunk]
        found[bytes(answer[:-1]).decode()] += 1
    expected = expected_probs(grammars)
    assert sum(expected.values()) == pytest.approx(1.0, abs=1e-5)
    assert set(found) <= set(expected)
    common = [text for text, prob in expected.items() if prob * NUM_TEXTS >= 5]
    observed = [found[text] for text in common]
    means = [expected[text] * NUM_TEXTS for text in common]
    rest = NUM_TEXTS - sum(observed), NUM_TEXTS - sum(means)
    return float(stats.chisquare([*observed, rest[0]], [*means, rest[1]]).pvalue)


def test_texts_have_the_constrained_targets_distribution(grammars: GrammarCompiler) -> None:
    for engine in (ConstrainedDraftEngine(SampledDraft(), grammars), SampledDraft()):
        assert p_value(engine, grammars) > SOUND


def test_cutting_drawn_tokens_that_are_not_allowed_is_found(grammars: GrammarCompiler) -> None:
    assert p_value(CuttingDraft(grammars), grammars) < BROKEN


def test_redrawn_tokens_are_proposed_with_the_allowed_part_of_their_distribution(grammars: GrammarCompiler) -> None:
    engine = ConstrainedDraftEngine(SampledDraft(), grammars)
    for seed in range(50):
        engine.open(seed, PROMPT, replace(SAMPLING, seed=seed))
        (draft,) = engine.draft([DraftRequest(seed, 4)])
        assert len(draft.draft_probs) in {0, len(draft.tokens)}
        assert all(token in probs.token_ids for token, probs in zip(draft.tokens, draft.draft_probs, strict=False))
        if draft.tokens and draft.draft_probs:
            assert set(draft.draft_probs[0].token_ids.tolist()) <= set(b"abc")

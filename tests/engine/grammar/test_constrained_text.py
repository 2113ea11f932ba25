"""The text of a constrained request is the constrained target's own, whatever is drafted."""

import pytest
from tests.engine.grammar.test_matcher import CONSTRAINTS
from tests.engine.grammar.vocabulary import END_TOKEN, VOCAB_SIZE, compiler, encode

from goodspeed.decoding.constraint import Constraint
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.grammar.constrained_engine import ConstrainedDraftEngine
from goodspeed.engine.interface import DraftEngine
from goodspeed.engine.null_draft import NullDraft
from goodspeed.engine.reference import ReferenceRequest, generate, speculate
from goodspeed.engine.toy_draft import ToyDraft
from goodspeed.engine.toy_model import ToyModel

MODEL = ToyModel(VOCAB_SIZE, seed=5)


def request_of(constraint: Constraint, sampling: Sampling, max_tokens: int = 40) -> ReferenceRequest:
    sampling = Sampling(
        sampling.temperature, sampling.top_k, sampling.top_p, sampling.seed, sampling.rule, constraint=constraint
    )
    return ReferenceRequest(tuple(encode("the name")), max_tokens, sampling, (END_TOKEN,), compiler())


def constrained(engine: DraftEngine) -> ConstrainedDraftEngine:
    return ConstrainedDraftEngine(engine, compiler())


SAMPLINGS = [
    Sampling(),
    Sampling(0.8, 0, 0.95, 1, Rule.COUPLED),
    Sampling(1.5, 20, 1.0, 2, Rule.COUPLED),
]


@pytest.mark.parametrize("window", range(9))
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_text_is_that_without_drafts_at_every_window(sampling: Sampling, window: int) -> None:
    for constraint in CONSTRAINTS:
        request = request_of(constraint, sampling)
        expected = generate(MODEL, request)
        for engine in (ToyDraft(0.7, MODEL), constrained(ToyDraft(0.7, MODEL)), constrained(NullDraft())):
            chunks = list(speculate(MODEL, engine, request, window))
            assert tuple(token for chunk in chunks for token in chunk) == expected

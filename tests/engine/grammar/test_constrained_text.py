"""The text of a constrained request is the constrained target's own, whatever is drafted, and satisfies its schema."""

import json
from collections.abc import Sequence
from dataclasses import replace

import jsonschema
import numpy as np
import numpy.typing as npt
import pytest
from tests.engine.grammar.schemas import random_schema
from tests.engine.grammar.test_matcher import CONSTRAINTS
from tests.engine.grammar.vocabulary import END_TOKEN, VOCAB_SIZE, compiler, decode, encode, regex, schema

from goodspeed.decoding.constraint import Constraint
from goodspeed.decoding.draft import Draft, DraftRequest, StreamKey
from goodspeed.decoding.logit_changes import BadWord, LogitChanges, TokenBias
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.calibration import Calibration
from goodspeed.engine.grammar.constrained_engine import ConstrainedDraftEngine
from goodspeed.engine.hybrid import DraftKnowledge, HybridDraft
from goodspeed.engine.interface import DraftEngine
from goodspeed.engine.lookup import LookupSource
from goodspeed.engine.null_draft import NullDraft
from goodspeed.engine.reference import ReferenceRequest, generate, speculate
from goodspeed.engine.toy_draft import ToyDraft
from goodspeed.engine.toy_model import CONTEXT, ToyModel

MODEL = ToyModel(VOCAB_SIZE, seed=5)
COUPLED = Sampling(0.8, 0, 0.95, 1, Rule.COUPLED)
NUM_SCHEMAS = 200
MAX_TOKENS = 60


class ClosingModel(ToyModel):
    """It likes to close strings, objects and arrays, so that most of its answers end by themselves."""

    def __init__(self, seed: int) -> None:
        super().__init__(VOCAB_SIZE, seed)
        self._closing = [encode(text)[0] for text in ('"', "}", "]", ",")]
        self._rows: dict[tuple[int, ...], npt.NDArray[np.float32]] = {}

    def row(self, tokens: Sequence[int]) -> npt.NDArray[np.float32]:
        context = tuple(tokens[-CONTEXT:])
        if context not in self._rows:
            row = self._rows[context] = super().row(context)
            row[self._closing] += 9.0
            row[END_TOKEN] += 12.0
        return self._rows[context].copy()


def request_of(constraint: Constraint, sampling: Sampling, max_tokens: int = 40) -> ReferenceRequest:
    sampling = replace(sampling, constraint=constraint)
    return ReferenceRequest(tuple(encode("the name")), max_tokens, sampling, (END_TOKEN,), compiler())


def constrained(engine: DraftEngine) -> ConstrainedDraftEngine:
    return ConstrainedDraftEngine(engine, compiler())


def lookup() -> HybridDraft:
    return HybridDraft(DraftKnowledge([LookupSource()], Calibration()))


def text_with(engine: DraftEngine, request: ReferenceRequest, window: int, model: ToyModel = MODEL) -> tuple[int, ...]:
    return tuple(token for chunk in speculate(model, engine, request, window) for token in chunk)


@pytest.mark.parametrize("window", range(9))
@pytest.mark.parametrize("sampling", [Sampling(), COUPLED, Sampling(1.5, 20, 1.0, 2, Rule.COUPLED)])
def test_text_is_that_without_drafts_at_every_window(sampling: Sampling, window: int) -> None:
    for constraint in CONSTRAINTS:
        request = request_of(constraint, sampling)
        expected = generate(MODEL, request)
        for engine in (
            ToyDraft(0.7, MODEL),
            constrained(ToyDraft(0.7, MODEL)),
            constrained(NullDraft()),
            constrained(lookup()),
        ):
            assert text_with(engine, request, window) == expected


@pytest.mark.parametrize("start", range(0, NUM_SCHEMAS, 25))
def test_answers_satisfy_their_schemas_and_do_not_depend_on_drafts(start: int) -> None:
    num_finished = 0
    model = ClosingModel(start)
    for number in range(start, start + 25):
        value = random_schema(number)
        sampling = Sampling() if number % 3 == 0 else replace(COUPLED, seed=number)
        request = request_of(schema(value), sampling, MAX_TOKENS)
        answer = generate(model, request)
        assert text_with(constrained(ToyDraft(0.6, model)), request, number % 9, model) == answer
        if answer[-1] == END_TOKEN:
            num_finished += 1
            validator = jsonschema.Draft202012Validator(
                value, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
            )
            validator.validate(json.loads(decode(list(answer))))
        else:
            assert len(answer) == MAX_TOKENS
    assert num_finished > 8


def test_exclusions_yield_to_the_constraint() -> None:
    """min_tokens, bad_words and allowed_token_ids that would leave no token have no effect."""
    constraint, model = CONSTRAINTS[0], ClosingModel(5)
    assert generate(model, request_of(constraint, COUPLED, 80))[-1] == END_TOKEN
    changes = LogitChanges(
        min_tokens=200, bad_words=(BadWord(tuple(encode("{"))),), logit_bias=(TokenBias(encode("x")[0], 4.0),)
    )
    request = request_of(constraint, replace(COUPLED, logit_changes=changes), 80)
    answer = generate(model, request)
    jsonschema.validate(json.loads(decode(list(answer))), json.loads(constraint.text))
    for window in (1, 4, 8):
        assert text_with(constrained(ToyDraft(0.7, model)), request, window, model) == answer


def test_forced_tokens_are_drafted_without_an_engine_and_always_accepted() -> None:
    constraint = schema({"const": {"the name of the engine": "is in the address of the city"}})
    request = request_of(constraint, COUPLED, 100)
    engine = constrained(NullDraft())
    chunks = list(speculate(MODEL, engine, request, 8))
    num_tokens = sum(map(len, chunks))
    assert chunks[-1][-1] == END_TOKEN
    assert num_tokens > 2 * len(chunks)
    drafted = ConstrainedDraftEngine(NullDraft(), compiler())
    drafted.open(1, request.prompt, request.sampling)
    (draft,) = drafted.draft([DraftRequest(1, 100)])
    assert draft.confidences == (1.0,) * len(draft.tokens)
    assert request.prompt + draft.tokens == request.prompt + generate(MODEL, request)[: len(draft.tokens)]


class ScriptedDraft(NullDraft):
    """Proposes these tokens after every text, as far as they go on from what is drafted."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self.requests: list[DraftRequest] = []
        self._tokens = tuple(tokens)

    def draft(self, requests: Sequence[DraftRequest]) -> list[Draft]:
        self.requests += requests
        return [self._next(request) for request in requests]

    def _next(self, request: DraftRequest) -> Draft:
        tokens = self._tokens[len(request.after) :][: request.max_tokens]
        return Draft(tokens, (0.5,) * len(tokens))


def drafted_by(engine: DraftEngine, constraint: Constraint, max_tokens: int = 8, stream: StreamKey = 1) -> Draft:
    engine.open(stream, encode("the name"), replace(COUPLED, constraint=constraint))
    return engine.draft([DraftRequest(stream, max_tokens)])[0]


def test_a_draft_is_cut_at_the_first_token_that_is_not_allowed_and_its_engine_forgets_the_rest() -> None:
    wrong = encode("yes, the name of")
    scripted = ScriptedDraft(wrong)
    draft = drafted_by(constrained(scripted), regex("(yes|no), the name is in the .*"), 20)
    taken = wrong[: len(encode("yes, the name"))]
    assert list(draft.tokens[: len(taken)]) == taken
    assert decode(list(draft.tokens)) == "yes, the name is in the"
    assert DraftRequest(1, 0, after=tuple(taken)) in scripted.requests


def test_engine_tokens_that_the_grammar_forces_are_certain() -> None:
    draft = drafted_by(constrained(ScriptedDraft(encode("yes, the name"))), regex("(yes|no), the name .*"))
    assert draft.confidences == (0.5, *(1.0,) * (len(draft.tokens) - 1))


def test_streams_without_a_constraint_are_drafted_as_by_the_engine() -> None:
    engine = constrained(ToyDraft(0.7, MODEL))
    drafted_by(engine, CONSTRAINTS[0])
    plain = ToyDraft(0.7, MODEL)
    for each in (engine, plain):
        each.open(2, encode("the name"), COUPLED)
    assert engine.draft([DraftRequest(1, 4), DraftRequest(2, 8)])[1] == plain.draft([DraftRequest(2, 8)])[0]

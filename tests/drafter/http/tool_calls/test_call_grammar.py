"""Random texts of the grammars of required calls are calls, for the parser of the same format."""

import json

import numpy as np
import pytest
from tests.engine.grammar.vocabulary import END_TOKEN, compiler, decode

from goodspeed.decoding.constraint import Constraint
from goodspeed.drafter.http.errors import ApiError
from goodspeed.drafter.http.tool_calls.call_delta import CallDelta
from goodspeed.drafter.http.tool_calls.call_grammar import call_grammar
from goodspeed.drafter.http.tool_calls.formats import FORMATS
from goodspeed.drafter.http.tool_calls.tool_request import Function

CITIES = ["Paris", "Köln"]
WEATHER = Function(
    name="weather",
    parameters={
        "type": "object",
        "properties": {"city": {"$ref": "#/$defs/City"}, "day": {"type": "integer"}},
        "required": ["city"],
        "additionalProperties": False,
        "$defs": {"City": {"enum": CITIES}},
    },
)
SCORE = Function(
    name='score "a"',
    parameters={
        "properties": {"city": {"$ref": "#/$defs/City"}},
        "required": ["city"],
        "$defs": {"City": {"const": 7}},  # the same reference, to another definition
        "additionalProperties": False,
    },
)
NOW = Function(name="now")


def random_text(constraint: Constraint, seed: int) -> str:
    """A text that a target with constant logits writes; empty if it does not end within 500 tokens."""
    rng = np.random.default_rng(seed)
    matcher = compiler().matcher(constraint, (END_TOKEN,))
    tokens: list[int] = []
    while len(tokens) < 500:
        token = int(rng.choice(np.flatnonzero(matcher.allowed())))
        if token == END_TOKEN:
            return decode(tokens)
        tokens.append(token)
        matcher.commit([token])
    return ""


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("max_calls", [1, None])
def test_every_answer_is_made_of_valid_calls(kind: str, max_calls: int | None) -> None:
    functions = (WEATHER, SCORE, NOW)
    constraint = call_grammar(functions, FORMATS[kind].written, {}, max_calls)
    seen: set[str] = set()
    for seed in range(30):
        parser = FORMATS[kind].make([function.name for function in functions], max_calls)
        if not (text := random_text(constraint, seed)):
            continue
        found = parser.push(text) + parser.finish()
        calls = [delta for delta in found if isinstance(delta, CallDelta)]
        assert len(calls) == len(found) == (max_calls or len(calls)) > 0, text
        for call in calls:
            arguments = json.loads(call.arguments)
            seen.add(call.name)
            assert {"weather": CITIES, 'score "a"': [7], "now": [None]}[call.name].count(arguments.get("city")) == 1  # type: ignore[attr-defined]
    assert len(seen) == 3


def test_special_tokens_stand_for_themselves() -> None:
    text = call_grammar((NOW,), FORMATS["mistral"].written, {"[TOOL_CALLS]": 5, "<s>": 1}, 1).text
    assert 'start: <[5]> "[" (call) "]"' in text


def test_parameters_that_are_no_object_are_refused() -> None:
    with pytest.raises(ApiError, match="parameters of 'f' has the type 'string', expected 'object'"):
        call_grammar((Function(name="f", parameters={"type": "string"}),), FORMATS["llama"].written, {}, 1)

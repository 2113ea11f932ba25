"""Random texts of the grammars of required calls are calls, for the parser of the same format."""

import json

import numpy as np
import pytest
from tests.engine.grammar.vocabulary import END_TOKEN, compiler, decode

from goodspeed.decoding.constraint import Constraint, ConstraintKind
from goodspeed.drafter.http.errors import ApiError
from goodspeed.drafter.http.tool_calls.call_delta import CallDelta
from goodspeed.drafter.http.tool_calls.call_grammar import call_grammar
from goodspeed.drafter.http.tool_calls.formats import FORMATS
from goodspeed.drafter.http.tool_calls.tool_request import Function, ToolRequest

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
    constraint = call_grammar(ToolRequest(functions, functions, max_calls), FORMATS[kind].written, {})
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
    tools = ToolRequest((NOW,), (NOW,), 1)
    text = call_grammar(tools, FORMATS["mistral"].written, {"[TOOL_CALLS]": 5, "<s>": 1}).text
    assert 'calls: <[5]> "[" (call) "]"' in text


def test_parameters_that_are_no_object_are_refused() -> None:
    wrong = Function(name="f", parameters={"type": "string"})
    with pytest.raises(ApiError, match="parameters of 'f' has the type 'string', expected 'object'"):
        call_grammar(ToolRequest((wrong,), (wrong,), 1), FORMATS["llama"].written, {})


@pytest.mark.parametrize("kind", FORMATS)
def test_answer_is_a_call_or_of_its_schema(kind: str) -> None:
    tools = ToolRequest((WEATHER, NOW), (), None)
    schema = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": False}
    answer = Constraint(ConstraintKind.JSON_SCHEMA, json.dumps(schema))
    constraint = call_grammar(tools, FORMATS[kind].written, {}, answer)
    has_call = set()
    for seed in range(40):
        if not (text := random_text(constraint, seed)):
            continue
        parser = FORMATS[kind].make(tools.names, None)
        found = parser.push(text) + parser.finish()
        has_call.add(parser.num_calls > 0)
        if not parser.num_calls:
            assert found == [text]
            assert json.loads(text)["n"] in {1, 2}
    assert has_call == {True, False}


def test_answer_of_another_kind_cannot_have_tools() -> None:
    tools = ToolRequest((NOW,), (), None)
    with pytest.raises(ApiError, match="tools cannot be used with a regex"):
        call_grammar(tools, FORMATS["llama"].written, {}, Constraint(ConstraintKind.REGEX, "a+"))

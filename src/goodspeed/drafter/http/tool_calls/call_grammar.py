"""The grammar of answers with calls: what a constrained target may write if it must call, or answer in JSON.

The calls have the format that the model was taught, so that what parses a free answer parses a constrained one. Each
function has a JSON schema of its own: references in it stay those of its own definitions.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from goodspeed.decoding.constraint import Constraint, ConstraintKind
from goodspeed.drafter.http.errors import ApiError
from goodspeed.drafter.http.tool_calls.formats import CallText
from goodspeed.drafter.http.tool_calls.tool_request import Function, ToolRequest

OPTIONS = {"whitespace_pattern": r" |\n[ \t]{0,32}", "lenient": False}
"""A keyword of a schema that is not supported is refused. Without a limit models write white space for ever."""


def call_grammar(
    tools: ToolRequest, written: CallText, special: Mapping[str, int], answer: Constraint | None = None
) -> Constraint:
    """One call or more of the functions that are required; or of any function, or else an answer of this JSON schema.

    `special`: special tokens by name. Raises ApiError for parameters that are no object, and for an answer of another
    kind; RequestError for a grammar that is too long.
    """
    functions = tools.required or tools.functions
    names = " | ".join(f"call_{i}" for i in range(len(functions)))
    more = "" if tools.max_calls == 1 else f" ({_text(written.separator, special)} (call))*"
    rules = [
        "%llguidance {}",
        "start: calls" if answer is None else "start: calls | answer",
        f"calls: {_text(written.opening, special)} (call){more} {_text(written.closing, special)}",
        f"call: {names}",
    ]
    for i, function in enumerate(functions):
        before = _text(written.before_name + json.dumps(function.name) + written.before_arguments, special)
        rules.append(f"call_{i}: {before} arguments_{i} {_text(written.after_arguments, special)}")
        rules.append(f"arguments_{i}: %json {json.dumps(arguments_schema(function))}")
    if answer is not None:
        rules.append(f"answer: %json {_answer_schema(answer)}")
    return Constraint(ConstraintKind.GRAMMAR, "\n".join(rules))


def arguments_schema(function: Function) -> dict[str, Any]:
    """The schema of the arguments, which are an object. Without a schema there are none. Raises ApiError."""
    schema = {"properties": {}, "additionalProperties": False} if function.parameters is None else function.parameters
    if schema.get("type", "object") != "object":
        reason = f"has the type {schema['type']!r:.40}, expected 'object'"
        raise ApiError(400, f"the parameters of {function.name!r:.80} {reason}", "tools", "invalid_value")
    return {**schema, "type": "object", "x-guidance": OPTIONS}


def _answer_schema(answer: Constraint) -> str:
    if answer.kind is not ConstraintKind.JSON_SCHEMA:
        raise ApiError(400, f"tools cannot be used with a {answer.name} for the answer", "tools", "unsupported_value")
    schema = json.loads(answer.text)
    return json.dumps({**schema, "x-guidance": OPTIONS} if isinstance(schema, dict) else {})


def _text(text: str, special: Mapping[str, int]) -> str:
    """The text as terminals: special tokens by their ids, the rest as it is."""
    names = [re.escape(name) for name in special if name in text]
    parts = re.split(f"({'|'.join(names)})", text) if names else [text]
    return " ".join(f"<[{special[part]}]>" if part in special else json.dumps(part) for part in parts if part) or '""'

"""The grammar of answers with calls: what a constrained target may write if a call is required.

The calls have the format that the model was taught, so that what parses a free answer parses a constrained one. Each
function has a JSON schema of its own: references in it stay those of its own definitions.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from goodspeed.decoding.constraint import Constraint, ConstraintKind
from goodspeed.drafter.http.errors import ApiError
from goodspeed.drafter.http.tool_calls.formats import CallText
from goodspeed.drafter.http.tool_calls.tool_request import Function

OPTIONS = {"whitespace_pattern": r" |\n[ \t]{0,32}", "lenient": False}
"""A keyword of a schema that is not supported is refused. Without a limit models write white space for ever."""


def call_grammar(
    functions: Sequence[Function], written: CallText, special: Mapping[str, int], max_calls: int | None
) -> Constraint:
    """One call or more of these functions, up to `max_calls`. `special`: special tokens by name.

    Raises ApiError for parameters that are no object, RequestError for a grammar that is too long.
    """
    calls = " | ".join(f"call_{i}" for i in range(len(functions)))
    more = "" if max_calls == 1 else f" ({_text(written.separator, special)} (call))*"
    rules = [
        "%llguidance {}",
        f"start: {_text(written.opening, special)} (call){more} {_text(written.closing, special)}",
        f"call: {calls}",
    ]
    for i, function in enumerate(functions):
        before = _text(written.before_name + json.dumps(function.name) + written.before_arguments, special)
        rules.append(f"call_{i}: {before} arguments_{i} {_text(written.after_arguments, special)}")
        rules.append(f"arguments_{i}: %json {json.dumps(_schema(function))}")
    return Constraint(ConstraintKind.GRAMMAR, "\n".join(rules))


def _schema(function: Function) -> dict[str, Any]:
    """The schema of the arguments, which are an object. Without a schema there are none."""
    schema = {"properties": {}, "additionalProperties": False} if function.parameters is None else function.parameters
    if schema.get("type", "object") != "object":
        reason = f"has the type {schema['type']!r:.40}, expected 'object'"
        raise ApiError(400, f"the parameters of {function.name!r:.80} {reason}", "tools", "invalid_value")
    return {**schema, "type": "object", "x-guidance": OPTIONS}


def _text(text: str, special: Mapping[str, int]) -> str:
    """The text as terminals: special tokens by their ids, the rest as it is."""
    names = [re.escape(name) for name in special if name in text]
    parts = re.split(f"({'|'.join(names)})", text) if names else [text]
    return " ".join(f"<[{special[part]}]>" if part in special else json.dumps(part) for part in parts if part) or '""'

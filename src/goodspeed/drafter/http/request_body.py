"""Request bodies: the fields that are supported, those that have no effect, and those that are refused by name."""

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import msgspec

from goodspeed.drafter.http.errors import ApiError
from goodspeed.registry import nearest_name

BodyT = TypeVar("BodyT", bound="CommonBody")

INERT = (
    "metadata",
    "parallel_tool_calls",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
)
"""Fields of OpenAI's API that have no effect."""

NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "audio": (None,),
    "best_of": (None, 1),
    "echo": (None, False),
    "frequency_penalty": (None, 0),
    "function_call": (None, "none", "auto"),
    "functions": (None, []),
    "logit_bias": (None, {}),
    "modalities": (None, ["text"]),
    "prediction": (None,),
    "presence_penalty": (None, 0),
    "reasoning_effort": (None, "none"),
    "response_format": (None, {"type": "text"}),
    "suffix": (None, ""),
    "tool_choice": (None, "none", "auto"),
    "tools": (None, []),
    "top_logprobs": (None, 0),
    "verbosity": (None, "medium"),
    "web_search_options": (None,),
}
"""Fields of OpenAI's API that are not supported, with the values at which they have no effect."""


class StreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    """OpenAI's stream_options."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Extension(msgspec.Struct, forbid_unknown_fields=True):
    """The field "goodspeed", which OpenAI's API does not have."""

    mode: Literal["distributed", "target_only"] = "distributed"
    rule: Literal["coupled", "rejection"] = "coupled"


class CommonBody(msgspec.Struct, kw_only=True):
    """The fields that both kinds of request have."""

    model: str
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    n: int | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
    goodspeed: Extension | None = None


class ChatBody(CommonBody, kw_only=True):
    """POST /v1/chat/completions."""

    messages: list[dict[str, Any]]
    max_completion_tokens: int | None = None
    logprobs: bool | None = None


class CompletionBody(CommonBody, kw_only=True):
    """POST /v1/completions."""

    prompt: str | list[str | int | list[int]]
    """A text or its tokens, or a list of these."""
    logprobs: int | None = None


def parse_body(data: bytes, kind: type[BodyT]) -> BodyT:
    """Parse a body. Raises ApiError that names the field that is wrong, unknown or not supported."""
    try:
        values = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiError(400, f"the body is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ApiError(400, f"the body is a JSON {type(values).__name__}, expected an object")
    known = _known_fields(values, kind)
    _refuse_former_mode(known.get("goodspeed"))
    try:
        return msgspec.convert(known, kind)
    except msgspec.ValidationError as error:
        raise _wrong(str(error)) from error


def _known_fields(values: Mapping[str, object], kind: type[BodyT]) -> dict[str, object]:
    fields = kind.__struct_fields__
    known = {}
    for name, value in values.items():
        if name in fields:
            known[name] = value
        elif name in NEUTRAL:
            if value not in NEUTRAL[name]:
                raise ApiError(400, f"{name} is {value!r:.80}, which is not supported", name, "unsupported_value")
        elif name not in INERT:
            hint = nearest_name(name, [*fields, *NEUTRAL])
            raise ApiError(400, f"unknown field {name!r}; {hint}", name, "unknown_parameter")
    return known


def _refuse_former_mode(extension: object) -> None:
    if isinstance(extension, dict) and extension.get("mode") == "fused":
        raise ApiError(400, "goodspeed.mode is 'fused', which is called 'target_only' now", "goodspeed.mode")


def _wrong(message: str) -> ApiError:
    """Translate msgspec's message, such as "Expected `int | null`, got `str` - at `$.max_tokens`"."""
    problem, _, path = message.partition(" - at `$.")
    path = path.rstrip("`")
    if not path and "missing required field" in problem:
        path = problem.split("`")[1]
        return ApiError(400, f"{path} is missing", path, "missing_required_parameter")
    return ApiError(400, f"{path}: {problem}", path or None, "invalid_type")

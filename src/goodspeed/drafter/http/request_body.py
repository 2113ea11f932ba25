"""Request bodies: the fields that are supported, with the forms in which clients of other servers send them."""

import codecs
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import msgspec

from goodspeed.drafter.http.errors import ApiError
from goodspeed.drafter.http.sampling_fields import SamplingBody
from goodspeed.drafter.http.tool_calls.tool_request import Tool, ToolChoice
from goodspeed.drafter.http.unsupported_fields import check_unsupported

BodyT = TypeVar("BodyT", bound=msgspec.Struct)

INTEGERS = frozenset(
    {
        "max_tokens",
        "max_completion_tokens",
        "max_output_tokens",
        "n",
        "seed",
        "top_k",
        "logprobs",
        "top_logprobs",
        "min_tokens",
    }
)
UNSET: Mapping[str, Mapping[str, None]] = {
    "max_tokens": {"-1": None},
    "max_completion_tokens": {"-1": None},
    "top_k": {"-1": None},
    "logprobs": {"False": None},
}
"""Values by which clients of other servers say that they set nothing."""


class StreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    """OpenAI's stream_options."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None
    continuous_usage_stats: Literal[False] | None = None


class Extension(msgspec.Struct, forbid_unknown_fields=True):
    """The field "goodspeed", which OpenAI's API does not have."""

    mode: Literal["distributed", "target_only", "co_located"] = "distributed"
    rule: Literal["coupled", "rejection"] = "coupled"


class GenerationBody(SamplingBody, kw_only=True):
    """The fields that every request for text has."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
    goodspeed: Extension | None = None


class CommonBody(GenerationBody, kw_only=True):
    """The fields that chats and completions have."""

    max_tokens: int | None = None
    n: int | None = None


class ChatBody(CommonBody, kw_only=True):
    """POST /v1/chat/completions."""

    messages: list[dict[str, Any]]
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None


class CompletionBody(CommonBody, kw_only=True):
    """POST /v1/completions."""

    prompt: str | list[str | int | list[int]]
    """A text or its tokens, or a list of these."""
    logprobs: int | None = None
    echo: bool | None = None


def read_chat(data: bytes) -> ChatBody:
    """Raises ApiError."""
    return parse_body(data, ChatBody)


def read_completion(data: bytes) -> CompletionBody:
    """Raises ApiError."""
    return parse_body(data, CompletionBody)


def parse_body(data: bytes, kind: type[BodyT]) -> BodyT:
    """Parse a body. Raises ApiError that names the field that is wrong, unknown or not supported."""
    try:
        values = msgspec.json.decode(data.removeprefix(codecs.BOM_UTF8))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(400, f"the body is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ApiError(400, f"the body is a JSON {type(values).__name__}, expected an object")
    known = _known_fields(values, kind)
    _refuse_former_mode(known.get("goodspeed"))
    try:
        return msgspec.convert(known, kind)
    except msgspec.ValidationError as error:
        raise _wrong(str(error)) from error


def _known_fields(values: Mapping[str, Any], kind: type[BodyT]) -> dict[str, object]:
    fields = kind.__struct_fields__
    known = {}
    for name, value in values.items():
        if name in fields:
            is_integral = name in INTEGERS and isinstance(value, float) and value.is_integer()
            given = int(value) if is_integral else value  # JavaScript and R do not distinguish them
            known[name] = UNSET.get(name, {}).get(repr(given), given)
        elif value is not None:
            check_unsupported(name, value, fields)
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

"""From the body of a response request to a chat."""

from dataclasses import replace
from typing import Any, Literal

import msgspec

from goodspeed.drafter.http.constraint_fields import NamedSchema, ResponseFormat
from goodspeed.drafter.http.errors import ApiError, api_error
from goodspeed.drafter.http.parsed_request import ParsedRequest, parse_chat
from goodspeed.drafter.http.request_body import ChatBody, GenerationBody, parse_body
from goodspeed.drafter.http.responses.input_items import chat_messages
from goodspeed.drafter.http.tool_calls.tool_request import Function, FunctionName, NamedChoice, Tool, ToolChoice
from goodspeed.errors import GoodSpeedError
from goodspeed.models.tokenizer import Tokenizer

LOGPROBS = "message.output_text.logprobs"
INCLUDED = (LOGPROBS, "reasoning.encrypted_content")
"""Values of `include`; of the latter there is none."""
FIELDS = {
    "messages": "input",
    "max_completion_tokens": "max_output_tokens",
    "response_format": "text.format",
    "response_format.json_schema": "text.format.schema",
    "response_format.json_schema.schema": "text.format.schema",
}
"""Fields of responses by those of chats."""


class ResponseTool(msgspec.Struct, kw_only=True):
    """A tool; functions are supported."""

    type: str
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class NamedFunction(msgspec.Struct):
    """A tool_choice that names a function."""

    type: Literal["function"]
    name: str


class Reasoning(msgspec.Struct, kw_only=True):
    """Models reason as their chat template has it: there is no effort to choose."""

    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None


class TextFormat(msgspec.Struct, kw_only=True):
    """What the text must look like."""

    type: Literal["text", "json_object", "json_schema"]
    schema: dict[str, Any] | bool | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class TextOptions(msgspec.Struct, kw_only=True):
    """The form of the text."""

    format: TextFormat | None = None
    verbosity: Literal["medium"] | None = None


class ResponseBody(GenerationBody, kw_only=True):
    """POST /v1/responses."""

    input: str | list[dict[str, Any]]
    """A user's text, or the conversation as items."""
    instructions: str | None = None
    max_output_tokens: int | None = None
    tools: list[ResponseTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedFunction | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    include: list[str] | None = None
    top_logprobs: int | None = None
    metadata: dict[str, str] | None = None
    reasoning: Reasoning | None = None
    truncation: Literal["disabled"] | None = None
    background: Literal[False] | None = None
    store: bool | None = None
    """Without effect: nothing is stored."""
    previous_response_id: str | None = None
    """Refused, as is `conversation`."""
    conversation: str | dict[str, Any] | None = None


def read_response(data: bytes) -> ResponseBody:
    """Raises ApiError."""
    body = parse_body(data, ResponseBody)
    for name, value in (("previous_response_id", body.previous_response_id), ("conversation", body.conversation)):
        if value:
            raise _refused(name, value, "responses are not stored; send the whole conversation in input")
    if body.reasoning and body.reasoning.effort not in {None, "none"}:
        raise _refused("reasoning.effort", body.reasoning.effort, "the chat template decides how the model reasons")
    for name in body.include or ():
        if name not in INCLUDED:
            raise _refused("include", name, f"supported are {', '.join(INCLUDED)}")
    return body


def parse_response(body: ResponseBody, tokenizer: Tokenizer, max_context: int) -> ParsedRequest:
    """Raises ApiError. An input that cannot fit into `max_context` is not encoded."""
    try:
        parsed = parse_chat(_chat_body(body), tokenizer, max_context)
    except GoodSpeedError as error:
        found = api_error(error)
        raise ApiError(found.status, str(found), FIELDS.get(found.param or "", found.param), found.code) from error
    constraint = parsed.constraint
    if constraint:
        constraint = replace(constraint, field=FIELDS.get(constraint.field, constraint.field))
    return replace(parsed, prompt_field="input", constraint=constraint)


def _chat_body(body: ResponseBody) -> ChatBody:
    given = msgspec.structs.asdict(body)
    return ChatBody(
        **{name: given[name] for name in GenerationBody.__struct_fields__ if name != "response_format"},
        messages=chat_messages(body.input, body.instructions),
        max_completion_tokens=body.max_output_tokens,
        response_format=_response_format(body.text.format) if body.text and body.text.format else body.response_format,
        logprobs=bool(body.top_logprobs) or LOGPROBS in (body.include or ()),
        top_logprobs=body.top_logprobs,
        tools=[_tool(tool, i) for i, tool in enumerate(body.tools or ())],
        tool_choice=_choice(body.tool_choice),
        parallel_tool_calls=body.parallel_tool_calls,
    )


def _tool(tool: ResponseTool, index: int) -> Tool:
    if tool.type == "function" and tool.name is None:
        raise ApiError(400, f"tools[{index}].name is missing", f"tools[{index}].name", "missing_required_parameter")
    function = Function(
        name=tool.name or "", description=tool.description, parameters=tool.parameters, strict=tool.strict
    )
    return Tool(type=tool.type, function=function)


def _response_format(given: TextFormat) -> ResponseFormat:
    if given.type != "json_schema" or given.schema is None:
        return ResponseFormat(type=given.type)
    return ResponseFormat(type=given.type, json_schema=NamedSchema(schema=given.schema, name=given.name))


def _choice(choice: Literal["none", "auto", "required"] | NamedFunction | None) -> ToolChoice | None:
    if isinstance(choice, NamedFunction):
        return NamedChoice("function", FunctionName(choice.name))
    return choice


def _refused(field: str, value: object, reason: str) -> ApiError:
    return ApiError(400, f"{field} is {value!r:.80}, which is not supported: {reason}", field, "unsupported_value")

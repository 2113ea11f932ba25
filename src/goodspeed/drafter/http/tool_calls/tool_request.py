"""The fields of a request that concern tools: what they may be, and what the prompt says of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from goodspeed.drafter.http.errors import ApiError

MAX_NAME = 256


class Function(msgspec.Struct, kw_only=True):
    """A function that the model may call."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    """The JSON schema of the arguments."""
    strict: bool | None = None
    """Without effect unless a call is required: only then are the arguments constrained."""


class Tool(msgspec.Struct, kw_only=True):
    """One of OpenAI's tools; functions are supported."""

    type: str
    function: Function | None = None


class FunctionName(msgspec.Struct):
    """A function that must be called."""

    name: str


class NamedChoice(msgspec.Struct):
    """A tool_choice that names a function."""

    type: Literal["function"]
    function: FunctionName


ToolChoice = Literal["none", "auto", "required"] | NamedChoice


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """The tools that the model may call in an answer."""

    functions: tuple[Function, ...]
    required: tuple[Function, ...]
    """Functions of which one must be called; empty: the model chooses whether it calls one."""
    max_calls: int | None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(function.name for function in self.functions)

    @property
    def for_template(self) -> list[dict[str, object]]:
        """OpenAI's form, with the fields that chat templates know."""
        return [{"type": "function", "function": _described(function)} for function in self.functions]


def tool_request(
    tools: Sequence[Tool] | None, choice: ToolChoice | None, parallel_calls: bool | None
) -> ToolRequest | None:
    """None if the model gets no tools: there are none, or tool_choice is "none". Raises ApiError."""
    functions = tuple(_function(tool, i) for i, tool in enumerate(tools or ()))
    names = [function.name for function in functions]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise ApiError(400, f"tools has several functions with the name {sorted(repeated)[0]!r}", "tools")
    required = _required(functions, choice)
    if choice == "none" or not functions:
        return None
    return ToolRequest(functions, required, 1 if parallel_calls is False else None)


def _function(tool: Tool, index: int) -> Function:
    path = f"tools[{index}]"
    if tool.type != "function":
        raise ApiError(400, f"{path}.type is {tool.type!r:.80}, supported is 'function'", f"{path}.type")
    if tool.function is None:
        raise ApiError(400, f"{path}.function is missing", f"{path}.function", "missing_required_parameter")
    if not 0 < len(tool.function.name) <= MAX_NAME:
        reason = f"is {tool.function.name!r:.80}, expected 1 to {MAX_NAME} characters"
        raise ApiError(400, f"{path}.function.name {reason}", f"{path}.function.name")
    return tool.function


def _required(functions: tuple[Function, ...], choice: ToolChoice | None) -> tuple[Function, ...]:
    if choice is None or choice in ("none", "auto"):
        return ()
    if not functions:
        raise ApiError(400, "tool_choice requires a call, but there are no tools", "tool_choice")
    if not isinstance(choice, NamedChoice):
        return functions
    named = tuple(function for function in functions if function.name == choice.function.name)
    if not named:
        raise ApiError(400, f"tool_choice names {choice.function.name!r:.80}, which is not in tools", "tool_choice")
    return named


def _described(function: Function) -> dict[str, object]:
    description = {} if function.description is None else {"description": function.description}
    parameters = function.parameters or {"type": "object", "properties": {}}
    return {"name": function.name, **description, "parameters": parameters}

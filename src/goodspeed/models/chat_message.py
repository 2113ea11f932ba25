"""Messages of a chat as clients send them, checked: role, texts, and the fields that have a value."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from goodspeed.errors import RequestError


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool in an assistant's message."""

    call_id: str | None
    function: str
    arguments: str | Mapping[str, object]
    """An object, or the text that a model has written in vain."""

    def as_field(self, *, has_text: bool) -> dict[str, object]:
        """OpenAI's form, with the arguments as JSON text or as an object."""
        as_text = json.dumps(self.arguments, ensure_ascii=False) if isinstance(self.arguments, Mapping) else None
        arguments = (as_text or self.arguments) if has_text else self.arguments
        call_id = {} if self.call_id is None else {"id": self.call_id}
        return {**call_id, "type": "function", "function": {"name": self.function, "arguments": arguments}}


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message."""

    role: str
    texts: tuple[str, ...]
    """The content: one text, or the texts of OpenAI's content parts."""
    fields: Mapping[str, object]
    """All fields that have a value, in the order in which they were sent; without the tool calls."""
    calls: tuple[ToolCall, ...] = ()


def checked_message(message: object, index: int) -> ChatMessage:
    """Raises RequestError (field "messages") for a wrong role, content or call. `index` is for its message.

    Clients send a null for what a message does not have. An assistant's message of calls has no content, and some
    tools return nothing.
    """
    if not isinstance(message, Mapping):
        raise RequestError(f"messages[{index}] is a {type(message).__name__}, expected an object", "messages")
    role = message.get("role")
    if not isinstance(role, str):
        raise RequestError(f"messages[{index}].role is {role!r}, expected a string", "messages")
    _refuse_functions(message, role, index)
    content = message.get("content")
    if content is None and role in {"assistant", "tool"}:
        content = ""
    sent = message if "content" in message else {"role": role, "content": None, **message}
    fields = {
        name: value for name, value in sent.items() if (value is not None or name == "content") and name != "tool_calls"
    }
    return ChatMessage(role, _texts(content, index), fields, _calls(message.get("tool_calls"), index))


def _refuse_functions(message: Mapping[str, object], role: str, index: int) -> None:
    """OpenAI's former API of functions. Raises RequestError."""
    if role == "function":
        reason = "role is 'function', a form that tools have replaced: send role 'tool' with a tool_call_id"
        raise RequestError(f"messages[{index}].{reason}", "messages")
    if message.get("function_call") is not None:
        reason = "function_call is a form that tools have replaced: send tool_calls"
        raise RequestError(f"messages[{index}].{reason}", "messages")


def _calls(calls: object, index: int) -> tuple[ToolCall, ...]:
    if calls is None:
        return ()
    if not isinstance(calls, Sequence) or isinstance(calls, str):
        raise RequestError(f"messages[{index}].tool_calls is {calls!r:.80}, expected a list", "messages")
    return tuple(_call(call, f"messages[{index}].tool_calls[{i}]") for i, call in enumerate(calls))


def _call(call: object, path: str) -> ToolCall:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(call, Mapping) or not isinstance(function, Mapping):
        raise RequestError(f"{path} is {call!r:.80}, expected a call with a function", "messages")
    name, call_id = function.get("name"), call.get("id")
    if not isinstance(name, str) or not isinstance(call_id, str | None):
        raise RequestError(f"{path} is {call!r:.80}, expected the name of the function and an id", "messages")
    return ToolCall(call_id, name, _arguments(function.get("arguments"), path))


def _arguments(arguments: object, path: str) -> str | Mapping[str, object]:
    """OpenAI's clients send JSON text, others an object, and an empty text or a null for no arguments."""
    if arguments is None or arguments == "":
        return {}
    if isinstance(arguments, Mapping):
        return arguments
    if not isinstance(arguments, str):
        raise RequestError(
            f"{path}.function.arguments is {arguments!r:.80}, expected JSON text or an object", "messages"
        )
    try:
        parsed = json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
    return parsed if isinstance(parsed, Mapping) else arguments


def _texts(content: object, index: int) -> tuple[str, ...]:
    if isinstance(content, str):
        return (content,)
    parts = content if isinstance(content, Sequence) else [content]
    texts = [part.get("text") for part in parts if isinstance(part, Mapping) and part.get("type") == "text"]
    strings = tuple(text for text in texts if isinstance(text, str))
    if len(strings) != len(parts):
        raise RequestError(f"messages[{index}].content is {content!r:.80}, expected text", "messages")
    return strings

"""From the items of a conversation to the messages of a chat."""

from collections.abc import Mapping, Sequence
from typing import Any

from goodspeed.drafter.http.errors import ApiError

TEXT_PARTS = ("input_text", "output_text", "text")
Message = dict[str, Any]


def chat_messages(conversation: str | Sequence[Mapping[str, Any]], instructions: str | None) -> list[Message]:
    """OpenAI's chat messages. Raises ApiError.

    The instructions and the system's messages at the start become one message: templates accept no other.
    """
    if isinstance(conversation, str):
        conversation = [{"role": "user", "content": conversation}]
    messages: list[Message] = []
    for i, item in enumerate(conversation):
        _add(messages, item, f"input[{i}]")
    leading = [instructions] if instructions else []
    while messages and messages[0]["role"] in {"system", "developer"}:
        leading.append(messages.pop(0)["content"])
    return [{"role": "system", "content": "\n\n".join(leading)}, *messages] if leading else messages


def _add(messages: list[Message], item: Mapping[str, Any], path: str) -> None:
    match item.get("type", "message"):
        case "message":
            messages.append({"role": _text(item, "role", path), "content": _content(item.get("content"), path)})
        case "function_call":
            function = {"name": _text(item, "name", path), "arguments": item.get("arguments")}
            call = {"id": _text(item, "call_id", path), "type": "function", "function": function}
            if not messages or messages[-1]["role"] != "assistant":
                messages.append({"role": "assistant", "content": ""})
            messages[-1].setdefault("tool_calls", []).append(call)
        case "function_call_output":
            result = _content(item.get("output"), path, "output")
            messages.append({"role": "tool", "tool_call_id": _text(item, "call_id", path), "content": result})
        case "reasoning":
            pass  # other models' reasoning, which clients send back
        case kind:
            reason = "supported are message, function_call, function_call_output and reasoning"
            raise ApiError(400, f"{path}.type is {kind!r:.80}, {reason}", f"{path}.type", "unsupported_value")


def _text(item: Mapping[str, Any], name: str, path: str) -> str:
    value = item.get(name)
    if not isinstance(value, str):
        raise ApiError(400, f"{path}.{name} is {value!r:.80}, expected a string", f"{path}.{name}", "invalid_type")
    return value


def _content(content: object, path: str, name: str = "content") -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise ApiError(400, f"{path}.{name} is {content!r:.80}, expected text", f"{path}.{name}", "invalid_type")
    return "".join(_part(part, f"{path}.{name}[{i}]") for i, part in enumerate(content))


def _part(part: object, path: str) -> str:
    kind = part.get("type") if isinstance(part, Mapping) else None
    text = part.get("text" if kind in TEXT_PARTS else "refusal") if isinstance(part, Mapping) else None
    if kind not in (*TEXT_PARTS, "refusal"):
        raise ApiError(400, f"{path}.type is {kind!r:.80}, supported is text", f"{path}.type", "unsupported_value")
    if not isinstance(text, str):
        raise ApiError(400, f"{path}.text is {text!r:.80}, expected a string", f"{path}.text", "invalid_type")
    return text

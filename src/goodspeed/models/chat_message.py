"""Messages of a chat as clients send them, checked: role, texts, and the fields that have a value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from goodspeed.errors import RequestError


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message."""

    role: str
    texts: tuple[str, ...]
    """The content: one text, or the texts of OpenAI's content parts."""
    fields: Mapping[str, object]
    """All fields that have a value, in the order in which they were sent."""


def checked_message(message: object, index: int) -> ChatMessage:
    """Raises RequestError (field "messages") for a wrong role or content. `index` is for its message.

    Clients send a null for what a message does not have, and an assistant's message of tool calls has no content.
    """
    if not isinstance(message, Mapping):
        raise RequestError(f"messages[{index}] is a {type(message).__name__}, expected an object", "messages")
    role = message.get("role")
    if not isinstance(role, str):
        raise RequestError(f"messages[{index}].role is {role!r}, expected a string", "messages")
    content = message.get("content")
    if content is None and role == "assistant":
        content = ""
    sent = message if "content" in message else {"role": role, "content": None, **message}
    fields = {name: value for name, value in sent.items() if value is not None or name == "content"}
    if fields.get("tool_calls") == []:
        del fields["tool_calls"]
    return ChatMessage(role, _texts(content, index), fields)


def _texts(content: object, index: int) -> tuple[str, ...]:
    if isinstance(content, str):
        return (content,)
    parts = content if isinstance(content, Sequence) else [content]
    texts = [part.get("text") for part in parts if isinstance(part, Mapping) and part.get("type") == "text"]
    strings = tuple(text for text in texts if isinstance(text, str))
    if len(strings) != len(parts):
        raise RequestError(f"messages[{index}].content is {content!r:.80}, expected text", "messages")
    return strings

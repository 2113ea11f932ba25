"""Messages as JSON values and back, as event logs hold them."""

from collections.abc import Mapping, Sequence
from typing import Any

from goodspeed.protocol import messages
from goodspeed.protocol.messages import Message
from goodspeed.records.json_values import from_json_value, to_json_value

_MESSAGES: dict[str, type[Message]] = {
    kind.__name__: kind
    for kind in (
        messages.Hello,
        messages.Open,
        messages.Propose,
        messages.Cancel,
        messages.Welcome,
        messages.Refused,
        messages.Opened,
        messages.Verdict,
        messages.Load,
        messages.Error,
    )
}


def message_to_json(message: Message) -> dict[str, Any]:
    """The message's fields, and its kind."""
    return {"kind": type(message).__name__, **to_json_value(message)}


def message_from_json(value: Mapping[str, Any]) -> Message:
    """The inverse. Raises KeyError for an unknown kind, msgspec.ValidationError for wrong fields."""
    message: Message = from_json_value({key: value[key] for key in value if key != "kind"}, _MESSAGES[value["kind"]])
    return message


def replies_to_json(replies: Sequence[tuple[int, Message]]) -> list[dict[str, Any]]:
    """Messages with the links that they are for."""
    return [{"conn": conn, **message_to_json(message)} for conn, message in replies]

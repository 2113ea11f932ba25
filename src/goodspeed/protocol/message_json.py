"""Messages as JSON values and back, as event logs hold them."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from msgspec import structs

from goodspeed.errors import DataError
from goodspeed.protocol.messages import Hello, Message
from goodspeed.records.json_values import from_json_value, to_json_value

_CLASSES: dict[str, type[Message]] = {message_class.__name__: message_class for message_class in get_args(Message)}


def message_to_json(message: Message) -> dict[str, Any]:
    """The fields of the message without its secret, and the name of its class as "kind"."""
    if isinstance(message, Hello):
        message = structs.replace(message, token="")
    return {"kind": type(message).__name__, **to_json_value(message)}


def message_from_json(value: Mapping[str, Any]) -> Message:
    """The message that message_to_json has written. Raises DataError for anything else."""
    fields = dict(value)
    kind = fields.pop("kind", None)
    if kind not in _CLASSES:
        raise DataError(f"kind is {kind!r}, expected one of {', '.join(_CLASSES)}")
    message: Message = from_json_value(fields, _CLASSES[kind])
    return message


def replies_to_json(replies: Sequence[tuple[int, Message]]) -> list[dict[str, Any]]:
    """Messages, each with the connection that it is sent on."""
    return [{"conn": conn, **message_to_json(message)} for conn, message in replies]

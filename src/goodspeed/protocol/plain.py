"""Facts and decisions as JSON values and back: what the event log holds."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import msgspec
import numpy as np

from goodspeed.protocol import messages
from goodspeed.protocol.messages import Message

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


def to_plain(value: object) -> Any:
    """Dataclasses become objects, enums numbers, tuples and arrays lists."""
    return msgspec.to_builtins(value, enc_hook=_array_to_plain)


def from_plain(value: object, kind: type[Any]) -> Any:
    """The inverse for a known dataclass. Raises msgspec.ValidationError."""
    return msgspec.convert(value, kind, dec_hook=_array_from_plain)


def message_to_plain(message: Message) -> dict[str, Any]:
    """The message's fields, and its kind."""
    return {"kind": type(message).__name__, **to_plain(message)}


def message_from_plain(value: Mapping[str, Any]) -> Message:
    """The inverse. Raises KeyError for an unknown kind, msgspec.ValidationError for wrong fields."""
    message: Message = from_plain({key: value[key] for key in value if key != "kind"}, _MESSAGES[value["kind"]])
    return message


def replies_to_plain(replies: Sequence[tuple[int, Message]]) -> list[dict[str, Any]]:
    """Messages with the links that they are for."""
    return [{"conn": conn, **message_to_plain(message)} for conn, message in replies]


def _array_to_plain(value: object) -> object:
    assert isinstance(value, np.ndarray | np.generic), f"{type(value).__name__} has no plain form"
    return value.tolist()


def _array_from_plain(kind: type[Any], value: object) -> object:
    _, dtype = get_args(kind)  # NDArray[np.uint32] is ndarray[shape, dtype[np.uint32]]
    return np.asarray(value, dtype=get_args(dtype)[0])

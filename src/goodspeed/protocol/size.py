"""The length of a frame on the wire, and that of a message's frame without encoding it: the simulator encodes nothing.

Messages whose fields are numbers and lists are counted field by field, as protobuf lays them out by goodspeed.proto
(proto3: a field of value 0 takes no bytes). The others are rare, and encoded.
"""

from typing import Final, get_args

from google.protobuf.descriptor import FieldDescriptor
from msgspec.structs import astuple

from goodspeed.protocol import goodspeed_pb2 as pb
from goodspeed.protocol.codec import encode_message
from goodspeed.protocol.messages import Message

GRPC_PREFIX_BYTES: Final = 5
DATA_HEADER_BYTES: Final = 9
DATA_FRAME_BYTES: Final = 1 << 14
"""Longest HTTP/2 DATA frame, prefix included, that gRPC sends by default."""

VARINT: Final = 0
"""An integer, bool or enum: 1 to 10 bytes."""
FIXED: Final = 1
"""A number of a fixed width."""
VARINTS: Final = 2
"""A list of integers."""
FIXEDS: Final = 3
"""A list of numbers of a fixed width, or bytes."""
ENCODED: Final = 4
"""Anything else, where it is not empty: the message has to be encoded."""

_VARINT_TYPES: Final = (
    FieldDescriptor.TYPE_UINT32,
    FieldDescriptor.TYPE_UINT64,
    FieldDescriptor.TYPE_BOOL,
    FieldDescriptor.TYPE_ENUM,
)
_WIDTHS: Final = {
    FieldDescriptor.TYPE_BYTES: 1,
    FieldDescriptor.TYPE_FLOAT: 4,
    FieldDescriptor.TYPE_FIXED32: 4,
    FieldDescriptor.TYPE_FIXED64: 8,
}


def wire_bytes(frame_bytes: int) -> int:
    """What a frame of this length takes in a gRPC stream: itself, its prefix, and its HTTP/2 DATA headers."""
    length = frame_bytes + GRPC_PREFIX_BYTES
    return length + DATA_HEADER_BYTES * -(-length // DATA_FRAME_BYTES)


def frame_bytes(message: Message) -> int:
    """len(encode_message(message)). Raises ProtocolError for a message that is too long to send."""
    layout = _LAYOUTS[type(message)]
    if layout is None:
        return len(encode_message(message))
    num_bytes = 0
    for field, value in zip(layout, astuple(message)):  # noqa: B905 (mypyc compiles zip only without keywords)
        if not value and (value is None or not field.has_presence):
            continue
        if field.kind == VARINT:
            num_bytes += field.tag_bytes + _varint(value)
        elif field.kind == VARINTS:
            num_bytes += field.tag_bytes + _delimited(sum([_varint(number) for number in value]))
        elif field.kind == FIXED:
            num_bytes += field.tag_bytes + field.width
        elif field.kind == FIXEDS:
            num_bytes += field.tag_bytes + _delimited(field.width * len(value))
        else:
            return len(encode_message(message))
    return 1 + _delimited(1 + _delimited(num_bytes))  # in a frame, in a message of this direction: tags of one byte


def _delimited(num_bytes: int) -> int:
    """A length, and content of this length."""
    return _varint(num_bytes) + num_bytes


def _varint(value: int) -> int:
    """Seven bits a byte, at least one."""
    num_bytes = 1
    while value >= 128:
        value >>= 7
        num_bytes += 1
    return num_bytes


class _Field:
    """How the bytes of one field are counted; a field whose value is None has none, nor 0 or empty without presence."""

    def __init__(self, field: FieldDescriptor) -> None:
        self.kind = _kind(field)
        self.tag_bytes = _varint(field.number << 3)
        self.has_presence = field.has_presence
        self.width = _WIDTHS.get(field.type, 0)
        """Bytes of each number, where it does not depend on the number."""


def _kind(field: FieldDescriptor) -> int:
    if field.type in _VARINT_TYPES:
        return VARINTS if field.is_repeated else VARINT
    if field.type in _WIDTHS:
        return FIXEDS if field.is_repeated or field.type == FieldDescriptor.TYPE_BYTES else FIXED
    return ENCODED


def _layout(message_class: type[Message]) -> list[_Field] | None:
    """None: messages of this class have to be encoded."""
    fields = pb.DESCRIPTOR.message_types_by_name[message_class.__name__].fields_by_name
    layout = [_Field(fields[name]) for name in message_class.__struct_fields__]
    is_rare = any(_kind(field) == ENCODED and not field.is_repeated for field in fields.values())
    return None if is_rare else layout


_LAYOUTS: Final = {message_class: _layout(message_class) for message_class in get_args(Message)}

"""The wire codec: messages to frames, which are the bytes of goodspeed.proto, and back.

Decoding trusts nothing: whatever the bytes, the result is messages or ProtocolErrors. An error that concerns a single
stream takes its message's place in the frame, so that the other messages of the frame are not lost.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, get_args

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError

from goodspeed.errors import ErrorCode, ProtocolError
from goodspeed.protocol import goodspeed_pb2 as pb
from goodspeed.protocol.message_codec import message_decoder, message_encoder
from goodspeed.protocol.messages import FromDrafter, FromVerifier, Message, Open, Propose

MAX_FRAME_BYTES = 1 << 20
MAX_FRAME_MESSAGES = 4096
MAX_FRAME_DISTRIBUTIONS = 4096
"""For their size, draft distributions take the longest to decode: this many take about 50 ms."""


def encode_message(message: Message) -> bytes:
    """A frame with this one message. Frames of one direction may be joined: their bytes are one frame then.

    Raises ProtocolError (BAD_REQUEST) if it is longer than MAX_FRAME_BYTES.
    """
    number, encode = _ENCODERS[type(message)]
    body = encode(message)
    encoded = _header(number, len(body)) + body
    if len(encoded) > MAX_FRAME_BYTES:
        stream = message.stream if isinstance(message, Open | Propose) else None
        raise ProtocolError(
            ErrorCode.BAD_REQUEST, f"a message of {len(encoded)} bytes; expected at most {MAX_FRAME_BYTES}", stream
        )
    return encoded


def encode_frame(messages: Sequence[Message]) -> bytes:
    """One frame with these messages, all of one direction. The caller keeps it within the limits above."""
    return b"".join(map(encode_message, messages))


def decode_drafter_frame(frame: bytes) -> tuple[FromDrafter | ProtocolError, ...]:
    """A drafter's messages, in order; a ProtocolError in place of each with an error of its stream only.

    Raises ProtocolError (session) for bytes that are no frame.
    """
    bodies = list(_parse(pb.DrafterFrame(), frame))
    num_distributions = sum(len(body.draft_probs) for kind, body in bodies if kind == "propose")
    if num_distributions > MAX_FRAME_DISTRIBUTIONS:
        raise ProtocolError(
            ErrorCode.MALFORMED,
            f"a frame of {num_distributions} draft distributions; expected at most {MAX_FRAME_DISTRIBUTIONS}",
        )
    return tuple([_DRAFTER_DECODERS[kind](body) for kind, body in bodies])


def decode_verifier_frame(frame: bytes) -> tuple[FromVerifier | ProtocolError, ...]:
    """A verifier's messages; the same rules as decode_drafter_frame."""
    return tuple([_VERIFIER_DECODERS[kind](body) for kind, body in _parse(pb.VerifierFrame(), frame)])


def _parse(parsed: Any, frame: bytes) -> Iterator[tuple[str, Any]]:
    """(kind, body) of each message of a frame; `parsed` is an empty protobuf frame."""
    if len(frame) > MAX_FRAME_BYTES:
        raise ProtocolError(ErrorCode.MALFORMED, f"a frame of {len(frame)} bytes; expected at most {MAX_FRAME_BYTES}")
    try:
        parsed.ParseFromString(frame)
    except DecodeError as error:
        raise ProtocolError(ErrorCode.MALFORMED, f"{len(frame)} bytes that are no frame: {error}") from error
    if not 0 < len(parsed.messages) <= MAX_FRAME_MESSAGES:
        raise ProtocolError(
            ErrorCode.MALFORMED, f"a frame of {len(parsed.messages)} messages; expected 1 to {MAX_FRAME_MESSAGES}"
        )
    for wire in parsed.messages:
        kind = wire.WhichOneof("kind")
        if kind is None:
            raise ProtocolError(ErrorCode.MALFORMED, "a message of unknown kind")
        yield kind, getattr(wire, kind)


@lru_cache(maxsize=1024)
def _header(number: int, length: int) -> bytes:
    """What stands before a body of this length in a frame with this one message, of the kind with this number.

    A frame has a repeated field of wrappers (DrafterMessage, VerifierMessage), each of which has one body.
    """
    wrapped = _tag(number) + _varint(length)
    return _tag(pb.DrafterFrame.MESSAGES_FIELD_NUMBER) + _varint(len(wrapped) + length) + wrapped


def _tag(number: int) -> bytes:
    """The tag of a nested message."""
    return _varint(number << 3 | 2)


def _varint(number: int) -> bytes:
    """Protobuf's integers: seven bits a byte, the lowest first; the high bit says that more follow."""
    varint = bytearray()
    while number >= 0x80:
        varint.append(number & 0x7F | 0x80)
        number >>= 7
    varint.append(number)
    return bytes(varint)


def _kinds(wrapper: Any, direction: Any) -> list[tuple[type[Message], FieldDescriptor]]:
    """The message classes of a direction, each with its field in pb.DrafterMessage or pb.VerifierMessage."""
    fields = {field.message_type.name: field for field in wrapper.DESCRIPTOR.oneofs_by_name["kind"].fields}
    return [(message_class, fields[message_class.__name__]) for message_class in get_args(direction)]


_FROM_DRAFTER = _kinds(pb.DrafterMessage, FromDrafter)
_FROM_VERIFIER = _kinds(pb.VerifierMessage, FromVerifier)
_ENCODERS = {
    message_class: (field.number, message_encoder(message_class))
    for message_class, field in (*_FROM_DRAFTER, *_FROM_VERIFIER)
}
_DRAFTER_DECODERS = {field.name: message_decoder(message_class) for message_class, field in _FROM_DRAFTER}
_VERIFIER_DECODERS = {field.name: message_decoder(message_class) for message_class, field in _FROM_VERIFIER}

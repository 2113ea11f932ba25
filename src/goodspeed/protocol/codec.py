"""The wire form of messages: goodspeed.proto's bytes to plain data and back.

Decoding trusts nothing: whatever the bytes, the result is messages or ProtocolErrors. An error that concerns one
stream alone stands in the frame in its message's place, so that the rest of the frame is not lost with it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from google.protobuf.message import DecodeError

from goodspeed.errors import ErrorCode, ProtocolError
from goodspeed.protocol import codec_drafter, codec_verifier
from goodspeed.protocol import goodspeed_pb2 as pb
from goodspeed.protocol.messages import FromDrafter, FromVerifier, Message, Open, Propose

MAX_FRAME_BYTES = 1 << 20
MAX_FRAME_MESSAGES = 4096
MAX_FRAME_DISTRIBUTIONS = 4096
"""Draft distributions are the costliest to decode for their size; so many take some 50 ms."""


def encode_message(message: Message) -> bytes:
    """A frame with this one message. Frames of one direction may be joined: their bytes are one frame then.

    Raises ProtocolError (BAD_REQUEST) if it is longer than MAX_FRAME_BYTES.
    """
    frame = pb.DrafterFrame() if isinstance(message, FromDrafter) else pb.VerifierFrame()
    _ENCODERS[type(message)](frame.messages.add(), message)
    encoded = frame.SerializeToString()
    if len(encoded) > MAX_FRAME_BYTES:
        stream = message.stream if isinstance(message, Open | Propose) else None
        raise ProtocolError(
            ErrorCode.BAD_REQUEST, f"a message of {len(encoded)} bytes; expected at most {MAX_FRAME_BYTES}", stream
        )
    return encoded


def encode_frame(messages: Sequence[Message]) -> bytes:
    """One frame with these messages, all of one direction. The caller keeps it within the two limits above."""
    return b"".join(map(encode_message, messages))


def decode_drafter_frame(frame: bytes) -> tuple[FromDrafter | ProtocolError, ...]:
    """A drafter's messages, in order; a ProtocolError in place of each that is wrong for its stream alone.

    Raises ProtocolError (session) for bytes that are no frame.
    """
    bodies = list(_parse(pb.DrafterFrame(), frame))
    num_distributions = sum(len(body.draft_probs) for kind, body in bodies if kind == "propose")
    if num_distributions > MAX_FRAME_DISTRIBUTIONS:
        raise ProtocolError(
            ErrorCode.MALFORMED,
            f"a frame of {num_distributions} draft distributions; expected at most {MAX_FRAME_DISTRIBUTIONS}",
        )
    return tuple(codec_drafter.DECODERS[kind](body) for kind, body in bodies)


def decode_verifier_frame(frame: bytes) -> tuple[FromVerifier | ProtocolError, ...]:
    """A verifier's messages; the same rules as decode_drafter_frame."""
    return tuple(codec_verifier.DECODERS[kind](body) for kind, body in _parse(pb.VerifierFrame(), frame))


def _parse(message: Any, frame: bytes) -> Iterator[tuple[str, Any]]:
    """(kind, body) of each message of a frame."""
    if len(frame) > MAX_FRAME_BYTES:
        raise ProtocolError(ErrorCode.MALFORMED, f"a frame of {len(frame)} bytes; expected at most {MAX_FRAME_BYTES}")
    try:
        message.ParseFromString(frame)
    except DecodeError as error:
        raise ProtocolError(ErrorCode.MALFORMED, f"{len(frame)} bytes that are no frame: {error}") from error
    if not 0 < len(message.messages) <= MAX_FRAME_MESSAGES:
        raise ProtocolError(
            ErrorCode.MALFORMED, f"a frame of {len(message.messages)} messages; expected 1 to {MAX_FRAME_MESSAGES}"
        )
    for wire in message.messages:
        kind = wire.WhichOneof("kind")
        if kind is None:
            raise ProtocolError(ErrorCode.MALFORMED, "a message of unknown kind")
        yield kind, getattr(wire, kind)


_ENCODERS: dict[type[Message], Callable[[Any, Any], None]] = {**codec_drafter.ENCODERS, **codec_verifier.ENCODERS}

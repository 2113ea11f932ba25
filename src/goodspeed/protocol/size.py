"""How long a frame is on the wire, and a message's frame without making it: the simulator's messages are not encoded.

The two messages of a round are counted field by field, as protobuf lays them out (proto3: a field of value 0 takes no
bytes); the others are rare, and encoded. tests/protocol/test_size.py compares with the codec.
"""

from typing import Final

from goodspeed.protocol.codec import encode_message
from goodspeed.protocol.messages import Message, Propose, Verdict

FIXED32_BYTES: Final = 5  # with its tag
GRPC_PREFIX_BYTES: Final = 5
DATA_HEADER_BYTES: Final = 9
DATA_FRAME_BYTES: Final = 1 << 14
"""Longest HTTP/2 DATA frame, prefix included, that gRPC sends by default."""


def wire_bytes(frame_bytes: int) -> int:
    """What a frame of this length takes in a gRPC stream: itself, its prefix, and its HTTP/2 DATA headers."""
    length = frame_bytes + GRPC_PREFIX_BYTES
    return length + DATA_HEADER_BYTES * -(-length // DATA_FRAME_BYTES)


def frame_bytes(message: Message) -> int:
    """len(encode_message(message)). Raises ProtocolError for a message that is too long to send."""
    if isinstance(message, Verdict):
        return _nested(_nested(_verdict(message)))
    if isinstance(message, Propose) and not message.draft_probs:
        return _nested(_nested(_propose(message)))
    return len(encode_message(message))


def _verdict(message: Verdict) -> int:
    return (
        _number(message.stream)
        + _number(message.epoch)
        + _number(message.round)
        + _number(message.num_accepted)
        + _number(message.next_token)
        + _number(message.committed_length)
        + _number(message.grant)
        + _number(message.finish)
        + _number(message.queue_us)
        + _number(message.verify_us)
        + _packed(4 * len(message.logprobs))
        + _number(message.baseline_us)
        + _number(message.elapsed_us)
    )


def _propose(message: Propose) -> int:
    return (
        _number(message.stream)
        + _number(message.epoch)
        + _number(message.round)
        + _number(message.committed_length)
        + _number(message.drafting_us)
        + (FIXED32_BYTES if message.committed_crc32 else 0)
        + _packed(sum([_varint(token) for token in message.tokens]))
        + _packed(len(message.confidences))
    )


def _number(value: int) -> int:
    """A field of unsigned integer or enum: a tag of one byte and the varint, or nothing for 0."""
    return 1 + _varint(value) if value else 0


def _packed(num_bytes: int) -> int:
    """A packed or bytes field with so much in it."""
    return _nested(num_bytes) if num_bytes else 0


def _nested(num_bytes: int) -> int:
    """A message, list or string field with so much in it: a tag of one byte, the length, the content."""
    return 1 + _varint(num_bytes) + num_bytes


def _varint(value: int) -> int:
    """Seven bits a byte, at least one."""
    num_bytes = 1
    while value >= 128:
        value >>= 7
        num_bytes += 1
    return num_bytes

"""How long a message's frame is, without making it: the simulator's messages take their time on the wire, unencoded.

The two messages of a round are counted field by field, as protobuf lays them out (proto3: a field of value 0 takes no
bytes); the others are rare, and encoded. tests/protocol/test_size.py compares with the codec.
"""

from collections.abc import Sequence

from goodspeed.protocol.codec import encode_message
from goodspeed.protocol.messages import Message, Propose, Verdict

FIXED32_BYTES = 5  # with its tag


def frame_bytes(message: Message) -> int:
    """len(encode_message(message)). Raises ProtocolError for a message that is too long to send."""
    if isinstance(message, Verdict):
        return _nested(_nested(_verdict(message)))
    if isinstance(message, Propose) and not message.draft_probs:
        return _nested(_nested(_propose(message)))
    return len(encode_message(message))


def _verdict(message: Verdict) -> int:
    numbers = (
        message.stream,
        message.epoch,
        message.round,
        message.num_accepted,
        message.next_token,
        message.committed_length,
        message.grant,
        message.finish,
        message.queue_us,
        message.verify_us,
    )
    return _numbers(numbers) + _packed(4 * len(message.logprobs))


def _propose(message: Propose) -> int:
    numbers = (message.stream, message.epoch, message.round, message.base_length, message.drafting_us)
    return (
        _numbers(numbers)
        + (FIXED32_BYTES if message.digest else 0)
        + _packed(sum([_varint(token) for token in message.tokens]))
        + _packed(len(message.confidences))
    )


def _numbers(values: Sequence[int]) -> int:
    """Fields of uint32 or enum: a tag of one byte and the varint each, or nothing for 0."""
    return sum([1 + _varint(value) for value in values if value])


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

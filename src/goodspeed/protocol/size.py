"""How long a message's frame is, without making it: the simulator's messages take their time on the wire, unencoded.

The two messages of a round are counted field by field, as protobuf lays them out (proto3: a field of value 0 takes no
bytes); the others are rare, and encoded. tests/protocol/test_size.py compares with the codec.
"""

from goodspeed.protocol.codec import encode_message
from goodspeed.protocol.messages import Message, Propose, Verdict

FIXED32_BYTES = 5  # with its tag, like a float of its own


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
    )


def _propose(message: Propose) -> int:
    return (
        _number(message.stream)
        + _number(message.epoch)
        + _number(message.round)
        + _number(message.base_length)
        + (FIXED32_BYTES if message.digest else 0)
        + _packed(sum([_varint(token) for token in message.tokens]))
        + _packed(len(message.confidences))
        + _number(message.drafting_us)
    )


def _number(value: int) -> int:
    """A uint32 or enum field: a tag of one byte, and the varint."""
    if value < 0x80:
        return 2 if value else 0
    return 1 + (value.bit_length() + 6) // 7


def _varint(value: int) -> int:
    return 1 if value < 0x80 else (value.bit_length() + 6) // 7


def _packed(num_bytes: int) -> int:
    """A packed or bytes field with so much in it."""
    return _nested(num_bytes) if num_bytes else 0


def _nested(num_bytes: int) -> int:
    """A message, list or string field with so much in it: a tag of one byte, the length, the content."""
    return 1 + _varint(num_bytes) + num_bytes

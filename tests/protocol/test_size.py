"""The size of a message is computed without encoding it."""

from hypothesis import given, settings
from tests.protocol.messages import drafter_messages, verifier_messages

from goodspeed.protocol.codec import encode_message
from goodspeed.protocol.messages import Message
from goodspeed.protocol.size import frame_bytes


@settings(max_examples=300, deadline=None)
@given(drafter_messages | verifier_messages)
def test_the_size_is_the_encoded_length(message: Message) -> None:
    assert frame_bytes(message) == len(encode_message(message))

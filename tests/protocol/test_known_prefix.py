"""An Open that leaves out a known prefix is the whole Open again at a verifier that has the text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodspeed.errors import ErrorCode, ProtocolError
from goodspeed.protocol.codec import encode_message
from goodspeed.protocol.known_prefix import num_equal, tokens_digest, with_known, without_known
from goodspeed.protocol.session import num_common
from goodspeed.testing.virtual_verifier import open_request

PROMPT = tuple(range(1000, 2000))


def test_an_open_with_a_known_prefix_is_short_and_the_same_again() -> None:
    request = open_request(7, PROMPT)
    short = without_known(request, 3, 990)
    assert short.tokens == PROMPT[990:]
    assert len(encode_message(short)) <= 60
    assert with_known(short, PROMPT[:995]) == request
    assert with_known(request, ()) == request


@pytest.mark.parametrize("text", [(), PROMPT[:989], (*PROMPT[:500], 1, *PROMPT[501:])], ids=["none", "short", "other"])
def test_a_text_that_is_not_known_is_requested(text: tuple[int, ...]) -> None:
    with pytest.raises(ProtocolError, match="the first 990 tokens of the text of stream 3 are not known") as error:
        with_known(without_known(open_request(7, PROMPT), 3, 990), text)
    assert (error.value.code, error.value.stream) == (ErrorCode.UNKNOWN_PREFIX, 7)


def test_the_digest_is_that_of_the_protocol() -> None:
    """BLAKE2b of the bytes 01 00 00 00 02 01 00 00, 8 bytes long: computed by the coreutils' b2sum -l 64."""
    assert tokens_digest((1, 258)).to_bytes(8, "little").hex() == "108bc7df5e5ec767"


@given(st.lists(st.integers(0, 1), max_size=40), st.lists(st.integers(0, 1), max_size=40))
def test_the_fast_common_length_is_the_common_length(tokens: list[int], others: list[int]) -> None:
    assert num_equal(tokens, others) == num_common(tokens, others)

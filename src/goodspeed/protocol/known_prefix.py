"""A known prefix: an Open names the first tokens of its text by an earlier stream and a digest, and leaves them out."""

import sys
from array import array
from collections.abc import Sequence
from hashlib import blake2b

from msgspec.structs import replace

from goodspeed.errors import ErrorCode, ProtocolError
from goodspeed.protocol.messages import KnownPrefix, Open


def tokens_digest(tokens: Sequence[int]) -> int:
    """64 bits of BLAKE2b over the tokens as little-endian uint32, as a little-endian number."""
    words = array("I", tokens)
    if sys.byteorder == "big":
        words.byteswap()
    return int.from_bytes(blake2b(words, digest_size=8).digest(), "little")


def num_equal(tokens: Sequence[int], others: Sequence[int]) -> int:
    """Length of the common prefix; as session.num_common, and faster where it is long."""
    low, high = 0, min(len(tokens), len(others))
    if tokens[:high] == others[:high]:
        return high
    while high - low > 1:  # the first `low` tokens are equal, the first `high` are not
        middle = (low + high) // 2
        if tokens[low:middle] == others[low:middle]:
            low = middle
        else:
            high = middle
    return low


def without_known(request: Open, stream: int, num_tokens: int) -> Open:
    """The Open without its first `num_tokens` tokens, which are those of the text of this earlier stream."""
    known = KnownPrefix(stream, num_tokens, tokens_digest(request.tokens[:num_tokens]))
    return replace(request, tokens=request.tokens[num_tokens:], known=known)


def with_known(request: Open, text: Sequence[int]) -> Open:
    """The Open with the tokens that it leaves out, from the text that it names; empty: the text is not known.

    Raises ProtocolError (stream) if they are not those that the digest is of: the drafter then sends all tokens.
    """
    known = request.known
    if known is None:
        return request
    tokens = tuple(text[: known.length])
    if len(tokens) < known.length or tokens_digest(tokens) != known.digest:
        reason = f"the first {known.length} tokens of the text of stream {known.stream} are not known"
        raise ProtocolError(ErrorCode.UNKNOWN_PREFIX, reason, request.stream)
    return replace(request, tokens=tokens + request.tokens, known=None)

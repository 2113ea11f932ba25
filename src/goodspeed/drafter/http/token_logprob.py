"""The log-probability of a token of the visible text, and those of the most likely tokens in its place."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from goodspeed.decoding.logprobs import TopTokens
from goodspeed.models.detokenizer import IncrementalDetokenizer, TokenText

NO_TOP: Final = TopTokens((), ())


@dataclass(frozen=True, slots=True)
class TopLogprob:
    """One of the most likely tokens at a position."""

    token: int
    logprob: float
    text: str
    """Of the token alone; as OpenAI's API writes them, bytes that are no characters are "bytes:\\xe2\\x82"."""
    data: bytes | None
    """The token's bytes; None for a special token, whose text is its name."""


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token of the visible text."""

    token: int
    logprob: float | None
    """None for the first token of an echoed prompt: nothing comes before it."""
    offset: int
    """Where the token starts in the text, in characters."""
    text: str
    """The text of the token, with the characters that it completes. The texts of all tokens, joined, are the text."""
    data: bytes | None
    """The token's bytes; None for a special token."""
    top: tuple[TopLogprob, ...] = ()

    @property
    def by_text(self) -> dict[str, float]:
        """The log-probabilities of the likeliest tokens and of this one by their texts, which are made distinct."""
        named: dict[str, float] = {} if self.logprob is None else {self.text: self.logprob}
        for each in self.top:
            if each.token != self.token:
                named[each.text if each.text not in named else as_bytes(each.data or b"")] = each.logprob
        return named


class Scored(NamedTuple):
    """What is reported of a token beside its text."""

    logprob: float | None
    top: TopTokens

    @classmethod
    def at(cls, logprobs: Sequence[float], tops: Sequence[TopTokens], index: int) -> "Scored | None":
        """None: log-probabilities are not requested."""
        return cls(logprobs[index], tops[index] if tops else NO_TOP) if logprobs else None


def token_logprob(
    token: int, added: TokenText, offset: int, scored: Scored, detokenizer: IncrementalDetokenizer
) -> TokenLogprob:
    """Of a token that has added this text at this offset."""
    pairs = zip(scored.top.tokens, scored.top.logprobs, strict=True)
    top = tuple(_top_logprob(*pair, detokenizer) for pair in pairs)
    return TokenLogprob(token, scored.logprob, offset, added.text, added.data, top)


def as_bytes(data: bytes) -> str:
    """The form of bytes that are no characters."""
    return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)


def _top_logprob(token: int, logprob: float, detokenizer: IncrementalDetokenizer) -> TopLogprob:
    data = detokenizer.bytes_of(token)
    if data is None:
        return TopLogprob(token, logprob, detokenizer.name_of(token), None)
    try:
        return TopLogprob(token, logprob, data.decode(), data)
    except UnicodeDecodeError:
        return TopLogprob(token, logprob, as_bytes(data), data)

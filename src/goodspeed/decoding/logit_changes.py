"""What a request changes in the target's logits before a token is chosen, apart from temperature and truncation."""

from collections.abc import Sequence
from dataclasses import dataclass

from goodspeed.errors import RequestError

MAX_PENALTY = 2.0
MAX_REPETITION_PENALTY = 100.0
MAX_BIAS = 100.0
MAX_BAD_WORDS = 256
"""Each is compared with the end of the answer at every position."""


@dataclass(frozen=True, slots=True)
class TokenBias:
    """Added to the logit of a token."""

    token: int
    bias: float  # -100..100


@dataclass(frozen=True, slots=True)
class BadWord:
    """Tokens that the answer does not contain in this order: the last is excluded after the others."""

    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LogitChanges:
    """Penalties, biases and exclusions, with the meaning that they have in OpenAI's API and in vLLM.

    Raises RequestError, which names the field, for values out of range.
    """

    repetition_penalty: float = 1.0  # 0.01..100; 1 = off
    """Divides a positive logit, and multiplies a negative one, of every token of prompt and answer."""
    frequency_penalty: float = 0.0  # -2..2
    """Subtracted from a token's logit once for each of its occurrences in the answer."""
    presence_penalty: float = 0.0  # -2..2
    """Subtracted from the logit of every token of the answer."""
    logit_bias: tuple[TokenBias, ...] = ()
    min_tokens: int = 0
    """End tokens are excluded until the answer has this many tokens."""
    bad_words: tuple[BadWord, ...] = ()
    allowed_tokens: tuple[int, ...] = ()
    """All others are excluded; empty: all are allowed."""

    def __post_init__(self) -> None:
        _check("frequency_penalty", self.frequency_penalty, -MAX_PENALTY, MAX_PENALTY)
        _check("presence_penalty", self.presence_penalty, -MAX_PENALTY, MAX_PENALTY)
        _check("repetition_penalty", self.repetition_penalty, 1.0 / MAX_REPETITION_PENALTY, MAX_REPETITION_PENALTY)
        for bias in self.logit_bias:
            _check(f"logit_bias of token {bias.token}", bias.bias, -MAX_BIAS, MAX_BIAS, "logit_bias")
        if self.min_tokens < 0:
            raise RequestError(f"min_tokens is {self.min_tokens}, expected 0 or more", "min_tokens")
        if len(self.bad_words) > MAX_BAD_WORDS:
            raise RequestError(f"bad_words has {len(self.bad_words)}, expected at most {MAX_BAD_WORDS}", "bad_words")
        if not all(word.tokens for word in self.bad_words):
            raise RequestError("bad_words has an empty word", "bad_words")

    @property
    def has_penalty(self) -> bool:
        """Whether the logits depend on the tokens of the text so far."""
        return (self.repetition_penalty, self.frequency_penalty, self.presence_penalty) != (1.0, 0.0, 0.0)

    def tokens(self) -> Sequence[int]:
        """All token ids that are named."""
        biased = [bias.token for bias in self.logit_bias]
        bad = [token for word in self.bad_words for token in word.tokens]
        return [*biased, *bad, *self.allowed_tokens]


def _check(name: str, value: float, least: float, most: float, field: str = "") -> None:
    if not least <= value <= most:
        raise RequestError(f"{name} is {value:g}, expected {least:g} to {most:g}", field or name)

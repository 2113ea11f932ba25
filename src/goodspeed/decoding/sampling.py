"""The sampling parameters of a stream."""

from dataclasses import dataclass
from enum import IntEnum

from goodspeed.decoding.constraint import Constraint
from goodspeed.decoding.logit_changes import LogitChanges
from goodspeed.errors import RequestError


class Rule(IntEnum):
    """The acceptance rule for draft tokens; the numbers are part of the wire protocol."""

    GREEDY = 0
    """Accepted iff it is the target's argmax."""
    COUPLED = 1
    """Accepted iff it is the target's Gumbel-max choice with shared noise (Daliri, Musco, Suresh 2024)."""
    REJECTION = 2
    """Accepted in blocks by probability, so that the text has the target's distribution (Sun et al. 2024)."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling parameters of one stream.

    Temperature 0 goes with the greedy rule only; top_k 0, top_p 1.0 and min_p 0.0 mean off. `seed` and the absolute
    position of a token (0 = first prompt token) determine all random numbers of that token.

    Raises RequestError, which names the field, for values out of range.
    """

    temperature: float = 0.0  # 0..100
    top_k: int = 0  # 0 = off
    top_p: float = 1.0  # (0, 1]
    seed: int = 0  # 0 .. 2**64 - 1
    rule: Rule = Rule.GREEDY
    min_p: float = 0.0  # 0..1
    """Tokens below this share of the most likely token's probability are excluded."""
    logit_changes: LogitChanges | None = None
    """None: the logits stay as they are."""
    constraint: Constraint | None = None
    """What the answer must look like; None: it is free."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature <= 100.0:
            raise RequestError(f"temperature is {self.temperature}, expected 0 to 100", "temperature")
        if self.top_k < 0:
            raise RequestError(f"top_k is {self.top_k}, expected 0 (off) or more", "top_k")
        if not 0.0 < self.top_p <= 1.0:
            raise RequestError(f"top_p is {self.top_p}, expected more than 0 and at most 1", "top_p")
        if not 0.0 <= self.min_p <= 1.0:
            raise RequestError(f"min_p is {self.min_p}, expected 0 to 1", "min_p")
        if not 0 <= self.seed < 2**64:
            raise RequestError(f"seed is {self.seed}, expected 0 to 2**64 - 1", "seed")
        if (self.temperature == 0.0) != (self.rule is Rule.GREEDY):
            raise RequestError(f"rule {self.rule.name} does not fit temperature {self.temperature}", "temperature")

"""How a stream's tokens are chosen from the target's distribution."""

from dataclasses import dataclass
from enum import IntEnum

from goodspeed.errors import RequestError


class Rule(IntEnum):
    """How a draft token is judged (numbers are part of the wire contract)."""

    GREEDY = 0
    """Kept iff it is the target's argmax."""
    COUPLED = 1
    """Kept iff it is the target's own Gumbel-max choice under shared noise (Daliri, Musco, Suresh 2024)."""
    REJECTION = 2
    """Kept with min(1, p/q), else recovered from max(p - q, 0) (Leviathan et al. 2023; the GoodSpeed paper's rule)."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling parameters of one stream.

    temperature 0 means greedy, whatever the rule says; top_k 0 and top_p 1.0 mean off. `seed` and the absolute
    position of a token (0 = first prompt token) determine all randomness of that token.

    Raises RequestError, naming the field, for values out of range.
    """

    temperature: float = 0.0  # 0..100
    top_k: int = 0  # 0 = off
    top_p: float = 1.0  # (0, 1]
    seed: int = 0  # 0 .. 2**64 - 1
    rule: Rule = Rule.GREEDY

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature <= 100.0:
            raise RequestError(f"temperature is {self.temperature}, expected 0 to 100", "temperature")
        if self.top_k < 0:
            raise RequestError(f"top_k is {self.top_k}, expected 0 (off) or more", "top_k")
        if not 0.0 < self.top_p <= 1.0:
            raise RequestError(f"top_p is {self.top_p}, expected more than 0 and at most 1", "top_p")
        if not 0 <= self.seed < 2**64:
            raise RequestError(f"seed is {self.seed}, expected 0 to 2**64 - 1", "seed")
        if (self.temperature == 0.0) != (self.rule is Rule.GREEDY):
            raise RequestError(f"rule {self.rule.name} does not fit temperature {self.temperature}", "temperature")

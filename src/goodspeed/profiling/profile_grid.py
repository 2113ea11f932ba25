"""The grid of a latency table: its points, and what is measured at each."""

import itertools
from dataclasses import dataclass

from goodspeed.config import config_dataclass, required


@dataclass(frozen=True, slots=True)
class ProfilePoint:
    """A point of the grid: a step with this many streams, tokens and context."""

    streams: int
    tokens: int
    """Mean tokens per stream: for a target, the draft tokens and one more; for a draft engine, the requested tokens."""
    context: int

    @property
    def stream_tokens(self) -> list[int]:
        """Tokens of each stream of a target: the more, the shorter its context, so that all need similar memory."""
        return _spread(1, self.tokens, self.streams)[::-1]

    @property
    def stream_contexts(self) -> list[int]:
        """Context of each stream of a target."""
        return _spread((self.context + 1) / 2, self.context, self.streams)


@config_dataclass
class ProfileGrid:
    """Every combination of streams, tokens and context."""

    streams: tuple[int, ...] = required(help_text="streams in a step", ge=1, is_required=True)
    tokens: tuple[int, ...] = required(help_text="tokens per stream", ge=1, is_required=True)
    context: tuple[int, ...] = required(help_text="tokens of context", ge=1, is_required=True)

    def points(self) -> list[ProfilePoint]:
        """All combinations; streams vary slowest, context fastest."""
        return [ProfilePoint(*values) for values in itertools.product(self.streams, self.tokens, self.context)]


@dataclass(frozen=True, slots=True)
class ProfileCell:
    """The times measured at a point, in seconds per step."""

    streams: int
    tokens: int
    context: int
    median_s: float
    min_s: float
    p90_s: float
    num_drafted: float | None = None
    """Draft engines: mean number of drafted tokens per stream and step."""
    pause_s: float = 0.0
    """Idle time of the engine before each step."""


def _spread(minimum: float, mean: int, num: int) -> list[int]:
    """`num` evenly spaced numbers from `minimum` on with this mean; a single one is the mean."""
    if num == 1:
        return [mean]
    return [round(minimum + 2 * (mean - minimum) * i / (num - 1)) for i in range(num)]

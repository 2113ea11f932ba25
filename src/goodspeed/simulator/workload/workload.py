"""The seam between the simulator and whatever knows what users ask."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True, slots=True)
class WorkloadRequest:
    """A user's next request."""

    interarrival_s: float
    """After the previous ask (open loop), or after its answer's end (closed loop); the first one's after the start."""
    is_closed_loop: bool
    num_prompt_tokens: int
    num_answer_tokens: int


class Workload(Protocol):
    """Users of all clients."""

    def requests(self, client: int, rng: np.random.Generator) -> Iterator[WorkloadRequest]:
        """What a client's user asks, in order; all randomness comes from `rng`. May end."""

"""The interface of workloads: the requests of users."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True, slots=True)
class WorkloadRequest:
    """A user's next request."""

    interarrival_s: float
    """Seconds after the previous request (open loop) or after its answer (closed loop); first: after the start."""
    is_closed_loop: bool
    num_prompt_tokens: int
    num_answer_tokens: int


class Workload(Protocol):
    """The users of all clients."""

    def requests(self, client: int, rng: np.random.Generator) -> Iterator[WorkloadRequest]:
        """The requests of a client's user, in order; may end. All randomness comes from `rng`."""

"""The interface of workloads: the requests of users."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

TEXT_BLOCK: Final = 512
"""Tokens of a block of text, as in Mooncake's traces."""


@dataclass(frozen=True, slots=True)
class WorkloadRequest:
    """A user's next request."""

    interarrival_s: float
    """Seconds after the previous request (open loop) or after its answer (closed loop); first: after the start."""
    is_closed_loop: bool
    num_prompt_tokens: int
    num_answer_tokens: int
    is_next_turn: bool = False
    """The prompt begins with the prompt and the answer of the client's previous request."""
    max_tokens: int = 0
    """Of the answer, as the verifier is told; 0: num_answer_tokens."""
    blocks: tuple[int, ...] = ()
    """The prompt's text in blocks of TEXT_BLOCK tokens: equal numbers, equal text; of any client. Empty: it is new."""


class Workload(Protocol):
    """The users of all clients."""

    def requests(self, client: int, rng: np.random.Generator) -> Iterator[WorkloadRequest]:
        """The requests of a client's user, in order; may end. All randomness comes from `rng`."""

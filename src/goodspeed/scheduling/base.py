"""The scheduler seam: estimates in, grants out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True, slots=True)
class ClientView:
    """What a scheduler may know of a client: only what a real server can measure."""

    acceptance_rate: float  # [0, 1): estimated chance that a draft token is accepted given those before it are
    goodput: float  # smoothed committed tokens per round (X_i), > 0
    weight: float = 1.0
    max_grant: int = 64


class Scheduler(Protocol):
    """Shares a verification budget among clients. May keep state; one instance serves one verifier."""

    def grants(self, clients: Sequence[ClientView], budget: int, rng: np.random.Generator) -> list[int]:
        """One grant per client, each 0..max_grant, together at most `budget`. All randomness comes from `rng`."""


class Estimator(Protocol):
    """Tracks one client's acceptance rate and smoothed goodput from its verdicts."""

    @property
    def acceptance_rate(self) -> float: ...

    @property
    def goodput(self) -> float: ...

    def on_verdict(self, num_proposed: int, num_accepted: int) -> None:
        """One verified round of this client: `num_accepted` of `num_proposed` draft tokens were kept."""

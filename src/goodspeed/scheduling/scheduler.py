"""The scheduler seam: estimates in, grants out."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from msgspec import Struct


class ClientView(Struct, frozen=True, gc=False):
    """What a scheduler may know of a client: only what a real server can measure."""

    acceptance_rate: float  # [0, 1): estimated chance that a draft token is accepted given those before it are
    goodput: float  # smoothed committed tokens per round (X_i), > 0
    weight: float = 1.0
    max_grant: int = 64
    min_grant: int = 0
    survival: Sequence[float] = ()
    """survival[j - 1] = Pr(the first j draft tokens are accepted), never rising in j; past its end, and for an empty
    one, acceptance is geometric: each further token survives with acceptance_rate times the one before it."""
    network_s: float = 0.0
    """From a verdict sent to the next proposal received, less the drafting: both ways of the link, and the hosts."""
    drafting_s: float = 0.0
    """Per draft token."""
    verify_s: float = 0.0
    """From a proposal received to its verdict sent (waiting for the step, and the step), less what its own draft tokens
    take in the step."""
    grant_utilisation: float = 1.0
    """Share of granted tokens that are drafted and verified: a drafter stops where it is unsure."""
    num_streams: int = 1
    """That draft; each commits a token of the target's own in each of its rounds."""
    co_batched_weight: float = 0.0
    """Weight of the clients whose streams are at the verifier, in the step or waiting for the next one, when a step of
    this client ends: those whom each further token in that step delays, itself included."""


class Budget(Struct, frozen=True, gc=False):
    """What one verification batch may hold, and what a step of it takes: step_s + token_s * (draft tokens)."""

    tokens: int  # draft tokens of all clients together
    step_s: float = 0.0  # 0: not known yet
    token_s: float = 0.0
    target_only_token_s: float | None = None
    """From token to token of a stream that goes on alone, as one with a grant of 0 does; 0: not known yet."""
    is_barrier: bool = False  # every client is in every batch, and a batch waits for the last of them


class Scheduler(Protocol):
    """Shares a verification budget among clients. May keep state; one instance serves one verifier."""

    def grants(self, clients: Sequence[ClientView], budget: Budget, rng: np.random.Generator) -> list[int]:
        """One grant per client, each min_grant..max_grant, together at most budget.tokens; all randomness from `rng`.

        Floors come first: where they alone exceed the budget, the earlier clients' are met.
        """


class Estimator(Protocol):
    """Tracks one client's acceptance rate, survival and smoothed goodput from its verdicts."""

    @property
    def acceptance_rate(self) -> float: ...

    @property
    def goodput(self) -> float: ...

    @property
    def survival(self) -> Sequence[float]:
        """As ClientView.survival; empty if the estimator takes acceptance for geometric."""

    def on_stream(self) -> None:
        """The client begins a new prompt."""

    def on_verdict(self, num_granted: int, num_accepted: int) -> None:
        """One verified round of this client: of the `num_granted` draft tokens that it could bring, some were kept.

        What it was granted and did not propose counts as not accepted: granting it brought nothing.
        """

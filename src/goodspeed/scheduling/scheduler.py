"""The scheduler interface: estimates in, grants out."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from msgspec import Struct


class ClientView(Struct, frozen=True, gc=False):
    """What a scheduler knows of a client: only what a real server can measure."""

    acceptance_rate: float  # [0, 1): estimated chance that a draft token is accepted if all before it are
    goodput: float  # smoothed committed tokens per round (X_i), > 0
    weight: float = 1.0
    max_grant: int = 64
    min_grant: int = 0
    survival: Sequence[float] = ()
    """survival[j - 1] = Pr(the first j draft tokens are accepted), never rising in j. Past its end, and if it is empty,
    acceptance is geometric: each further token survives with acceptance_rate times the one before it."""
    network_s: float = 0.0
    """From a verdict sent to the next proposal received, without drafting: the network both ways, and the hosts."""
    drafting_s: float = 0.0
    """Per step of drafting. Each step proposes a token; a draft that ends before its grant took one step more."""
    verify_s: float = 0.0
    """From a proposal received to its verdict sent (the wait for the step, and the step), without the time that its own
    draft tokens take in the step."""
    grant_utilisation: float = 1.0
    """Share of granted tokens that are drafted and verified: a drafter stops where it is unsure."""
    num_streams: int = 1
    """Streams that draft; each commits a token of the target's own in each of its rounds."""
    co_located_survival: Sequence[float] = ()
    """co_located_survival[j - 1] = Pr(the first j co-located draft tokens of a stream are accepted), never rising in j.
    Its length is that of the longest co-located draft. Empty: the streams have none, or nothing is known of them."""
    co_located_drafted: Sequence[float] = ()
    """co_located_drafted[j - 1] = Pr(a co-located draft has at least j tokens), as long as co_located_survival."""
    co_batched_weight: float = 0.0
    """Weight of the clients whose streams are at the verifier, in the step or waiting for the next one, when a step of
    this client ends. Each further token in that step delays them; the client itself is included."""


class Budget(Struct, frozen=True, gc=False):
    """What one verification batch may hold, and what a step of it takes: step_s + token_s * (draft tokens)."""

    tokens: int  # draft tokens of all clients together
    step_s: float = 0.0  # 0: no step was observed yet
    token_s: float = 0.0
    local_round_s: float | None = None
    """From verdict to verdict of a stream with a grant of 0, which waits for no drafter, without the time that its own
    co-located tokens take; None: not known."""
    co_located_token_s: float = 0.0  # a step of co-located drafting, which proposes a token or ends the draft
    is_barrier: bool = False  # every client is in every batch, and a batch waits for the last of them
    least_value: float = 0.0
    """Value, w / X times its survival, below which steps have left proposed tokens out lately."""


class Scheduler(Protocol):
    """Shares a verification budget among clients. It may keep state; one instance serves one verifier."""

    def grants(self, clients: Sequence[ClientView], budget: Budget, rng: np.random.Generator) -> list[int]:
        """One grant per client, each min_grant..max_grant, together at most budget.tokens; all randomness from `rng`.

        Floors come first. Where they exceed the budget, only those of the earlier clients are met.
        """


class Estimator(Protocol):
    """Tracks one client's acceptance rate, survival and smoothed goodput from its verdicts."""

    @property
    def acceptance_rate(self) -> float: ...

    @property
    def goodput(self) -> float: ...

    @property
    def survival(self) -> Sequence[float]:
        """As ClientView.survival; empty if the estimator assumes geometric acceptance."""

    def on_stream(self) -> None:
        """The client starts a new prompt."""

    def on_verdict(self, num_granted: int, num_accepted: int) -> None:
        """One verified round of this client: of `num_granted` draft tokens the target accepted `num_accepted`.

        Tokens that were granted but not proposed count as not accepted: granting them brought nothing.
        """

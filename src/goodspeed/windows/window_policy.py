"""The window seam: what a drafter knows, and how many tokens it chooses to propose."""

from typing import Protocol

from msgspec import Struct


class WindowView(Struct, frozen=True, gc=False):
    """What a drafter can measure of one stream."""

    grant: int
    recent_acceptance: float  # accepted / proposed, smoothed; 1.0 before the first proposal
    rtt_s: float
    drafting_s_per_token: float
    verify_s: float
    queue_s: float = 0.0
    """At the verifier, before a proposal's step begins; smoothed, as are all times."""
    acceptance_rate: float = 1.0
    """Of a token all before which were accepted: accepted / (accepted + rounds with a rejection), smoothed."""
    last_acceptance: float | None = None
    """accepted / proposed of the last round that proposed anything; None before the first."""


class Window(Struct, frozen=True, gc=False):
    """Propose up to `max_tokens`, and stop where survival (product of confidences) would fall below `min_survival`."""

    max_tokens: int
    min_survival: float = 0.0


class WindowPolicy(Protocol):
    """Chooses the speculation window of a stream for its next round."""

    def next_window(self, view: WindowView) -> Window:
        """max_tokens is at most view.grant."""

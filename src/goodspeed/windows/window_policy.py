"""The interface of window policies: what a drafter measures, and how many tokens it proposes."""

from typing import Final, Protocol, runtime_checkable

from msgspec import Struct

from goodspeed.decoding.mode import Mode
from goodspeed.windows.accepted_prefixes import AcceptedPrefixes


class WindowView(Struct, frozen=True, gc=False):
    """A drafter's measurements of one stream. Times are smoothed."""

    grant: int  # draft tokens
    recent_acceptance: float  # accepted / proposed, smoothed; 1.0 before the first proposal
    rtt_s: float
    drafting_s_per_token: float
    verify_s: float
    queue_s: float = 0.0
    """From the arrival of a proposal at the verifier to the start of its batch."""
    acceptance_rate: float = 1.0
    """Of a token after accepted ones: accepted / (accepted + rounds with a rejection), smoothed."""
    last_acceptance: float | None = None
    """accepted / proposed of the last round with a proposal; None before the first."""
    runs_ahead: bool = False
    """Drafting may go on past the proposal."""
    verifier: int = 0
    """Index of the verifier: a policy may keep a state for each link."""
    tpot_s: float = 0.0
    """Time per committed token of the link's streams, smoothed; 0: not known."""
    queue_utilisation: float = 0.0
    """Of the verifier, as it last reported: 1 if it is always busy and serves all that wait; more if some are left."""
    load_age_s: float = 0.0
    """Since that report."""
    prefixes: AcceptedPrefixes | None = None
    """Of all proposals of this drafter on the stream's link."""
    link_acceptance: float = 1.0
    """accepted / proposed of all proposals on the stream's link, smoothed; 1.0 before the first."""


class Window(Struct, frozen=True, gc=False):
    """Propose up to `max_tokens`, and end before survival (product of confidences) falls below `min_survival`."""

    max_tokens: int
    min_survival: float = 0.0
    mode: Mode = Mode.DISTRIBUTED
    """The mode that the stream is to have from now on; with another one than DISTRIBUTED it proposes nothing."""


NO_WINDOW: Final = Window(0)


class WindowPolicy(Protocol):
    """Chooses the window of a stream for its next round."""

    def next_window(self, view: WindowView) -> Window:
        """The window; its max_tokens is at most view.grant."""


@runtime_checkable
class ModePolicy(WindowPolicy, Protocol):
    """A window policy that chooses the mode of a stream too. It decides after every verdict, local rounds included."""

    def mode_of(self, verifier: int) -> Mode:
        """The mode in which streams are opened at the verifier of this index."""

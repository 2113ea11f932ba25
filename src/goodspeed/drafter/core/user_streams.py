"""The streams of a drafter's users and what each of them waits for."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from msgspec import Struct

from goodspeed.decoding.draft import NO_DRAFT, Draft, DraftRequest, StreamKey
from goodspeed.drafter.core.link import VerifierLink
from goodspeed.drafter.core.run_ahead import RunAhead
from goodspeed.protocol.messages import ShadowDraft
from goodspeed.protocol.session import DrafterStream
from goodspeed.protocol.stream_queues import StreamQueues
from goodspeed.windows.window_policy import NO_WINDOW, Window

LATEST_WEIGHT: Final = 0.2
"""Weight of the latest round in the recent acceptance."""
DECAY: Final = 0.9
"""Factor by which each round reduces the weight of the rounds before it: about the last ten count."""
PRIOR_ACCEPTED: Final = 3.0
PRIOR_VERIFIED: Final = 4.0
"""A stream starts with a rate of 0.75 that weighs as much as four verified tokens."""


class UserStreamState(IntEnum):
    """What a stream waits for."""

    WAITING = 0
    """A verifier: a link, room at one, or the end of the pause after a refusal."""
    OPENING = 1
    """The first verdict on its link."""
    READY = 2
    """The draft engine, which is busy."""
    DRAFTING = 3
    """The draft engine, which is drafting for it."""
    AWAITING_VERDICT = 4
    """The verdict on its proposal or of its local round."""


@dataclass(slots=True)
class Refusal:
    """A verifier had no room for a stream."""

    retry_at: float
    num_refusals: int = 1
    """In a row."""


class ShadowRequest(Struct, frozen=True, gc=False):
    """A shadow draft that the verdict of this round has asked for."""

    round: int
    draft: DraftRequest


class StreamAcceptance:
    """Acceptance of one stream's draft tokens, over its rounds."""

    def __init__(self) -> None:
        self.recent = 1.0
        """accepted / proposed, smoothed; 1.0 before the first proposal."""
        self.last: float | None = None
        """accepted / proposed of the last round that proposed a token; None before it."""
        self._accepted = PRIOR_ACCEPTED
        self._verified = PRIOR_VERIFIED

    @property
    def rate(self) -> float:
        """Probability that a token is accepted if all tokens before it in its proposal were.

        A round shows its accepted tokens and the first rejected one; the tokens after that are unknown. The rate is the
        maximum-likelihood estimate for a geometric distribution, with decay. Unlike accepted / proposed it does not
        depend on the window.
        """
        return self._accepted / self._verified

    def on_round(self, num_proposed: int, num_accepted: int) -> None:
        if num_proposed:
            self.last = num_accepted / num_proposed
            self.recent += LATEST_WEIGHT * (self.last - self.recent)
            self._accepted = DECAY * self._accepted + num_accepted
            self._verified = DECAY * self._verified + num_accepted + (num_accepted < num_proposed)


@dataclass(slots=True, eq=False)
class UserStream:
    """A stream as the drafter's core sees it."""

    key: StreamKey
    protocol: DrafterStream
    since: float
    """When it entered its state."""
    link: VerifierLink | None = None
    """The verifier that has it or is to have it again; None: the routing policy chooses one."""
    stalled_since: float | None = None
    """Since when no verifier has it; None: a verifier has it."""
    refusals: dict[int, Refusal] = field(default_factory=dict)
    """By verifier."""
    last_refusal: str = ""
    """Reason of the last refusal for lack of capacity; empty once a verifier has admitted the stream."""
    has_reopened: bool = False
    """It was opened again on this link after an error."""
    draft_request: DraftRequest | None = None
    """While READY."""
    window: Window = NO_WINDOW
    """Of the proposal that is drafted or under way."""
    run_ahead: RunAhead | None = None
    """What is drafted past its proposal; after a hit until the next proposal is sent."""
    head_start: Draft = NO_DRAFT
    """First tokens of the proposal that is drafted, from run-ahead."""
    waited_s: float = 0.0
    """How long the proposal that is drafted had to wait for run-ahead."""
    grammars: str = ""
    """Welcome.grammars of the first verifier that has admitted the stream, if it is constrained."""
    num_cached: int = 0
    """First tokens of its prefix that its verifier did not have to read."""
    sent_at: float = 0.0
    """When its proposal was sent for the first time."""
    last_sent_at: float = 0.0
    """When its proposal was sent for the last time."""
    drafting_s: float = 0.0
    """Drafting time of its proposal."""
    verdict_at: float | None = None
    """When its last verdict was received; None before the first of its epoch."""
    num_mode_changes: int = 0
    """By the window policy."""
    acceptance: StreamAcceptance = field(default_factory=StreamAcceptance)
    shadow: ShadowDraft | None = None
    """Sent, and not yet compared with what was committed since."""
    never_proposes: bool = field(init=False)
    """The request is in a mode without proposals: the draft engine does not know the stream."""

    def __post_init__(self) -> None:
        self.never_proposes = self.protocol.never_proposes

    @property
    def verifier(self) -> VerifierLink:
        """The verifier that has it."""
        assert self.link is not None, "no verifier has this stream"
        return self.link

    def can_move_to(self, grammars: str) -> bool:
        """Whether a verifier with these grammars (Welcome.grammars) would continue it with the same text."""
        if self.protocol.opening.sampling.constraint is None:
            return True
        return grammars == self.grammars if self.grammars else bool(grammars)

    @property
    def epoch(self) -> int:
        return self.protocol.opening.epoch

    def forget_run_ahead(self) -> None:
        """Drop what was drafted past its proposal."""
        self.run_ahead, self.head_start, self.waited_s = None, NO_DRAFT, 0.0

    def retry_at(self, verifier: int) -> float:
        """When it may be opened at this verifier."""
        refusal = self.refusals.get(verifier)
        return refusal.retry_at if refusal else self.since

    def num_refusals(self, verifier: int) -> int:
        """By this verifier, in a row."""
        refusal = self.refusals.get(verifier)
        return refusal.num_refusals if refusal else 0

    def on_refused(self, verifier: int, reason: str, retry_at: float) -> None:
        """The verifier has no room; another may have."""
        self.last_refusal = reason
        self.refusals[verifier] = Refusal(retry_at, self.num_refusals(verifier) + 1)
        self.link = None

    def on_admitted(self) -> None:
        """A verifier has it."""
        self.stalled_since = None
        self.last_refusal = ""
        self.refusals.clear()


class UserStreams:
    """All unfinished streams, with a queue for each state. `now` must not decrease from call to call."""

    def __init__(self) -> None:
        self._table = table = StreamQueues[UserStreamState, UserStream](UserStreamState)
        self.waiting = table.queue(UserStreamState.WAITING)
        self.opening = table.queue(UserStreamState.OPENING)
        """The stream that was opened first comes first."""
        self.ready = table.queue(UserStreamState.READY)
        self.awaiting_verdict = table.queue(UserStreamState.AWAITING_VERDICT)
        """The stream whose proposal was sent (the last time) first comes first."""
        self._shadow_requests: dict[StreamKey, ShadowRequest] = {}  # of streams that await a verdict

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[UserStream]:
        return iter(self._table)

    def get(self, key: StreamKey) -> UserStream | None:
        return self._table.get(key)

    @property
    def has_draft_requests(self) -> bool:
        """The draft engine has work on proposals or shadow drafts."""
        return bool(self.ready or self._shadow_requests)

    def on_waiting(self, stream: UserStream, now: float) -> None:
        """A new stream, or one that is to be opened again."""
        self._release_link(stream)
        self._shadow_requests.pop(stream.key, None)
        stream.shadow = stream.verdict_at = None
        self._table.put(stream.key, stream, UserStreamState.WAITING)
        stream.since = now
        if stream.stalled_since is None:
            stream.stalled_since = now

    def on_opening(self, stream: UserStream, link: VerifierLink, now: float) -> None:
        """Its Open goes out on this link."""
        self._table.put(stream.key, stream, UserStreamState.OPENING)
        stream.link = link
        link.num_streams += 1
        stream.since = now

    def on_ready(self, stream: UserStream, request: DraftRequest, now: float) -> None:
        """A proposal is to be drafted for it."""
        self._table.put(stream.key, stream, UserStreamState.READY)
        self._shadow_requests.pop(stream.key, None)
        stream.draft_request = request
        stream.since = now

    def on_shadow_requested(self, stream: UserStream, request: ShadowRequest) -> None:
        """A shadow draft is to be drafted for it while it awaits a verdict."""
        self._shadow_requests[stream.key] = request

    def start_drafting(self) -> list[DraftRequest]:
        """The requests of all streams that are ready; the draft engine now works on them."""
        requests = []
        for stream in list(self.ready.values()):
            assert stream.draft_request is not None
            requests.append(stream.draft_request)
            stream.draft_request = None
            self._table.put(stream.key, stream, UserStreamState.DRAFTING)
        return requests

    def start_shadow_drafting(self) -> list[ShadowRequest]:
        """The requests of all shadow drafts; the draft engine now works on them."""
        requests = list(self._shadow_requests.values())
        self._shadow_requests.clear()
        return requests

    def on_awaiting_verdict(self, stream: UserStream, now: float) -> None:
        """Its proposal was sent, or the verdict before a local round was received."""
        self._table.put(stream.key, stream, UserStreamState.AWAITING_VERDICT)
        stream.last_sent_at = now
        stream.since = now

    def on_repeated(self, stream: UserStream, now: float) -> None:
        """Its proposal was sent again; `since` stays the time of the first sending."""
        self._table.put(stream.key, stream, UserStreamState.AWAITING_VERDICT)
        stream.last_sent_at = now

    def remove(self, stream: UserStream) -> None:
        self._release_link(stream)
        self._shadow_requests.pop(stream.key, None)
        self._table.remove(stream.key)

    def _release_link(self, stream: UserStream) -> None:
        """Its verifier, if one has it, counts one stream less."""
        state = self._table.state(stream.key)
        if stream.link and state is not None and state is not UserStreamState.WAITING:
            stream.link.num_streams -= 1

"""All streams of a drafter, by what they wait for."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from goodspeed.decoding.draft import DraftRequest, StreamKey
from goodspeed.drafter.core.acceptance import Acceptance
from goodspeed.drafter.core.link import VerifierLink
from goodspeed.protocol.session import DrafterStream


@dataclass(slots=True)
class Refusal:
    """A verifier had no room for a stream."""

    may_ask_at: float
    num_refusals: int = 1  # in a row


@dataclass(slots=True, eq=False)
class UserStream:
    """A stream as the drafter's core sees it. What it waits for is the part of the UserStreams in which it is."""

    key: StreamKey
    end: DrafterStream
    since: float  # when it began to wait for what it waits for
    part: dict[StreamKey, Any] | None = None  # of the UserStreams, in which it is
    link: VerifierLink | None = None  # where it is, or is to be opened again; None: wherever the routing policy says
    stalled_since: float | None = None  # no verifier has had it since then
    refusals: dict[int, Refusal] = field(default_factory=dict)  # by verifier
    refusal: str = ""  # why a verifier had no room for it the last time, if it had none
    has_reopened: bool = False  # on this link, after an error
    sent_at: float = 0.0  # its proposal, for the first time
    drafting_s: float = 0.0  # of its proposal
    acceptance: Acceptance = field(default_factory=Acceptance)

    @property
    def is_fused(self) -> bool:
        return self.end.opened_target_only

    @property
    def epoch(self) -> int:
        return self.end.opening.epoch

    def may_ask_at(self, verifier: int) -> float:
        """When this verifier may be asked for room."""
        refusal = self.refusals.get(verifier)
        return refusal.may_ask_at if refusal else self.since

    def num_refusals(self, verifier: int) -> int:
        """In a row."""
        refusal = self.refusals.get(verifier)
        return refusal.num_refusals if refusal else 0

    def on_refused(self, verifier: int, reason: str, may_ask_at: float) -> None:
        """The verifier has no room; another may have."""
        self.refusal = reason
        self.refusals[verifier] = Refusal(may_ask_at, self.num_refusals(verifier) + 1)
        self.link = None

    def on_admitted(self) -> None:
        """A verifier has it."""
        self.stalled_since = None
        self.refusal = ""
        self.refusals.clear()


class UserStreams:
    """Every stream is in one part, or with the draft engine (then in none).

    waiting   to be opened, for want of a link, of room at a verifier, or of time since it was refused
    opening   its first verdict on its link is awaited; in the order of `since`
    ready     it is to be drafted for
    owed      the verdict on its proposal, or the next one of a stream that goes on alone, is awaited; in that order
    """

    def __init__(self) -> None:
        self.waiting: dict[StreamKey, UserStream] = {}
        self.opening: dict[StreamKey, UserStream] = {}
        self.ready: dict[StreamKey, DraftRequest] = {}
        self.owed: dict[StreamKey, float] = {}  # when its proposal was sent the last time
        self._streams: dict[StreamKey, UserStream] = {}

    def __len__(self) -> int:
        return len(self._streams)

    def __iter__(self) -> Iterator[UserStream]:
        return iter(self._streams.values())

    def get(self, key: StreamKey) -> UserStream | None:
        return self._streams.get(key)

    def on_waiting(self, stream: UserStream, now: float) -> None:
        """A new stream, or one that is to be opened again."""
        self._leave_verifier(stream)
        self._streams[stream.key] = stream
        _enter(self.waiting, stream, stream)
        stream.since = now
        if stream.stalled_since is None:
            stream.stalled_since = now

    def on_opening(self, stream: UserStream, link: VerifierLink, now: float) -> None:
        _enter(self.opening, stream, stream)
        stream.link = link
        link.num_streams += 1
        stream.since = now

    def on_ready(self, stream: UserStream, request: DraftRequest, now: float) -> None:
        _enter(self.ready, stream, request)
        stream.since = now

    def take_ready(self) -> list[DraftRequest]:
        """All that is to be drafted; the streams are with the draft engine now."""
        requests = list(self.ready.values())
        for request in requests:
            _leave(self._streams[request.stream])
        return requests

    def on_owed(self, stream: UserStream, now: float) -> None:
        _enter(self.owed, stream, now)
        stream.since = now

    def on_repeated(self, stream: UserStream, now: float) -> None:
        """Its proposal was sent again; it is owed since the first time."""
        del self.owed[stream.key]
        self.owed[stream.key] = now

    def remove(self, stream: UserStream) -> None:
        self._leave_verifier(stream)
        del self._streams[stream.key]

    def _leave_verifier(self, stream: UserStream) -> None:
        """Its verifier, if one knew of it, is to know of it no more."""
        if stream.link and stream.key in self._streams and stream.key not in self.waiting:
            stream.link.num_streams -= 1
        _leave(stream)


def _enter(part: dict[StreamKey, Any], stream: UserStream, entry: object) -> None:
    """Put it last."""
    _leave(stream)
    part[stream.key] = entry
    stream.part = part


def _leave(stream: UserStream) -> None:
    if stream.part is not None:
        del stream.part[stream.key]
        stream.part = None

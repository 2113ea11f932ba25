"""All streams of a drafter, by what they wait for."""

from collections.abc import Iterator
from dataclasses import dataclass

from goodspeed.engine.base import DraftRequest, StreamKey
from goodspeed.protocol.messages import Mode
from goodspeed.protocol.session import DrafterStream


@dataclass(slots=True, eq=False)
class Stream:
    """A stream as the drafter's core sees it. What it waits for is the part of the StreamTable in which it is."""

    key: StreamKey
    end: DrafterStream
    since: float  # when it began to wait for what it waits for
    stalled_since: float | None = None  # no verifier has had it since then
    open_at: float = 0.0  # waiting: not to be opened before
    refusal: str = ""  # why the verifier had no room for it the last time, if it had none
    num_refusals: int = 0  # in a row
    has_reopened: bool = False  # on this link, after an error
    sent_at: float = 0.0  # its proposal, for the first time
    drafting_s: float = 0.0  # of its proposal
    recent_acceptance: float = 1.0

    @property
    def is_fused(self) -> bool:
        return self.end.opening.mode is Mode.FUSED

    @property
    def epoch(self) -> int:
        return self.end.opening.epoch

    def on_admitted(self) -> None:
        """A verifier has it."""
        self.stalled_since = None
        self.num_refusals = 0
        self.refusal = ""


class StreamTable:
    """Every stream is in one part, or with the draft engine (then in none).

    waiting   to be opened, for want of a link, of room at the verifier, or of time since it was refused
    opening   its first verdict on this link is awaited; in the order of `since`
    ready     it is to be drafted for
    owed      the verdict on its proposal, or the next one of a fused stream, is awaited; in the order of sending
    """

    def __init__(self) -> None:
        self.waiting: dict[StreamKey, Stream] = {}
        self.opening: dict[StreamKey, Stream] = {}
        self.ready: dict[StreamKey, DraftRequest] = {}
        self.owed: dict[StreamKey, float] = {}  # when its proposal was sent the last time
        self._streams: dict[StreamKey, Stream] = {}

    def __len__(self) -> int:
        return len(self._streams)

    def __iter__(self) -> Iterator[Stream]:
        return iter(self._streams.values())

    @property
    def num_open(self) -> int:
        """Streams that the verifier knows of."""
        return len(self._streams) - len(self.waiting)

    def get(self, key: StreamKey) -> Stream | None:
        return self._streams.get(key)

    def on_waiting(self, stream: Stream, open_at: float, now: float) -> None:
        """A new stream, or one that is to be opened again."""
        self._leave_parts(stream)
        self._streams[stream.key] = self.waiting[stream.key] = stream
        stream.open_at = open_at
        stream.since = now
        if stream.stalled_since is None:
            stream.stalled_since = now

    def on_opening(self, stream: Stream, now: float) -> None:
        self._leave_parts(stream)
        self.opening[stream.key] = stream
        stream.since = now

    def on_ready(self, stream: Stream, request: DraftRequest, now: float) -> None:
        self._leave_parts(stream)
        self.ready[stream.key] = request
        stream.since = now

    def take_ready(self) -> list[DraftRequest]:
        """All that is to be drafted; the streams are with the draft engine now."""
        requests = list(self.ready.values())
        self.ready.clear()
        return requests

    def on_owed(self, stream: Stream, now: float) -> None:
        self._leave_parts(stream)
        self.owed[stream.key] = now
        stream.since = now

    def on_repeated(self, stream: Stream, now: float) -> None:
        """Its proposal was sent again; it is owed since the first time."""
        del self.owed[stream.key]
        self.owed[stream.key] = now

    def remove(self, stream: Stream) -> None:
        self._leave_parts(stream)
        del self._streams[stream.key]

    def _leave_parts(self, stream: Stream) -> None:
        self.waiting.pop(stream.key, None)
        self.opening.pop(stream.key, None)
        self.ready.pop(stream.key, None)
        self.owed.pop(stream.key, None)

"""All admitted streams, by what they wait for, and what the engine has yet to hear of them."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

from goodspeed.decoding.draft import StreamKey
from goodspeed.engine.interface import Prefill, StreamSpec, Work
from goodspeed.protocol.messages import Verdict
from goodspeed.verifier.core.client import Client
from goodspeed.verifier.core.served_stream import ServedStream


class ServedStreams:
    """Every stream is in one part, or in the engine's running step (then in none).

    prefilling   its prefix is not wholly in the engine's step yet; in order of admission
    ready        it can be verified: a proposal has come, or it goes on alone; in order of arrival
    drafting     it is the drafter's turn, or the drafter is lost; in the order in which leases expire
    """

    def __init__(self) -> None:
        self.prefilling: dict[StreamKey, ServedStream] = {}
        self.ready: dict[StreamKey, ServedStream] = {}
        self.drafting: dict[StreamKey, ServedStream] = {}
        self._by_key: dict[StreamKey, ServedStream] = {}
        self._num_orphans = 0
        self._by_name: dict[str, dict[int, ServedStream]] = {}
        self._finished: dict[str, dict[int, Verdict]] = {}
        self._keys = itertools.count(1)
        self._opened: dict[StreamKey, StreamSpec] = {}
        self._closed: list[StreamKey] = []
        self._num_steps = 0  # of the engine, begun

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[ServedStream]:
        return iter(self._by_key.values())

    @property
    def has_work(self) -> bool:
        return bool(self.ready or self.prefilling)

    @property
    def has_news(self) -> bool:
        """The engine has yet to hear of an opening or a closing."""
        return bool(self._opened or self._closed)

    @property
    def num_served(self) -> int:
        """Streams past their prefill whose drafters are there."""
        return len(self._by_key) - len(self.prefilling) - self._num_orphans

    def next_key(self) -> StreamKey:
        return next(self._keys)

    def with_key(self, key: StreamKey) -> ServedStream | None:
        return self._by_key.get(key)

    def of(self, client: Client) -> Mapping[int, ServedStream]:
        """The client's streams by their stream ids."""
        return self._by_name.get(client.name, {})

    def in_order(self, clients: Iterable[Client]) -> list[ServedStream]:
        """All streams of these clients, in the order in which iterating over the table gives them."""
        return sorted((stream for client in clients for stream in self.of(client).values()), key=_key)

    def open(self, stream: ServedStream) -> None:
        """A newly admitted stream: the engine will hear of it with the next batch."""
        self._opened[stream.key] = stream.end.spec()
        self._add(stream)
        _enter(self.prefilling, stream)

    def count(self, client: Client) -> int:
        """The client's streams in its present session."""
        return sum(stream.conn == client.conn for stream in self.of(client).values())

    def is_stepping(self, stream: ServedStream) -> bool:
        """The engine is at work on it."""
        return stream.part is None

    def is_late(self, stream: ServedStream) -> bool:
        """A batch was closed since its drafter's turn began."""
        return stream.num_steps < self._num_steps

    def oldest_orphan(self) -> ServedStream | None:
        """The stream whose drafter is lost for longest, unless the engine is at work on it."""
        return next((stream for stream in self.drafting.values() if stream.conn is None), None)

    def adopt(self, stream: ServedStream, now: float) -> None:
        """The stream takes the place of one with the same key, whose state in the engine it continues."""
        _leave(self._by_key[stream.key])
        self._num_orphans -= self._by_key[stream.key].conn is None
        self._add(stream)
        self.on_ready(stream, now)

    def on_ready(self, stream: ServedStream, now: float) -> None:
        """The stream can be verified."""
        stream.since = now
        _enter(self.ready, stream)

    def on_stepping(self, work: Sequence[Work]) -> None:
        """The engine begins a step over this work; those whose drafter's turn it is could have joined, and are late."""
        for item in work:
            stream = self._by_key[item.stream]
            if isinstance(item, Prefill):
                stream.num_unprefilled -= item.num_tokens
            if stream.num_unprefilled == 0:
                _leave(stream)
        self._num_steps += 1

    def on_drafting(self, stream: ServedStream, now: float) -> None:
        """It is the drafter's turn; `now` never falls from call to call."""
        stream.since = now
        stream.num_steps = self._num_steps
        _enter(self.drafting, stream)

    def on_orphaned(self, stream: ServedStream, now: float) -> None:
        """Its session is gone: its lease begins, at once or when the engine is done with it."""
        stream.conn = None
        self._num_orphans += 1
        if not self.is_stepping(stream):
            self.on_drafting(stream, now)

    def close(self, stream: ServedStream) -> None:
        """Forget the stream; the engine will hear of it with the next batch, if it knows it."""
        _leave(stream)
        self._num_orphans -= stream.conn is None
        del self._by_key[stream.key]
        streams = self._by_name[stream.client.name]
        del streams[stream.request.stream]
        if not streams:
            del self._by_name[stream.client.name]
        if self._opened.pop(stream.key, None) is None:
            self._closed.append(stream.key)

    def remember_finished(self, client: Client, verdict: Verdict, most: int) -> None:
        """Keep the last verdicts of a session's streams, for proposals that are repeated late."""
        finished = self._finished.setdefault(client.name, {})
        finished[verdict.stream] = verdict
        while len(finished) > most:
            del finished[next(iter(finished))]

    def finished(self, client: Client, stream_id: int) -> Verdict | None:
        """The last verdict of a stream that has ended."""
        return self._finished.get(client.name, {}).get(stream_id)

    def forget_finished(self, client: Client, stream_id: int | None = None) -> None:
        """Of one stream, or of all of the client."""
        if stream_id is None:
            self._finished.pop(client.name, None)
        else:
            self._finished.get(client.name, {}).pop(stream_id, None)

    def take_news(self) -> tuple[tuple[StreamKey, ...], tuple[tuple[StreamKey, StreamSpec], ...]]:
        """(closed, opened) since the last call. Closing comes first: what it frees may be promised to the opened."""
        news = tuple(self._closed), tuple(self._opened.items())
        self._closed.clear()
        self._opened.clear()
        return news

    def _add(self, stream: ServedStream) -> None:
        self._by_key[stream.key] = stream
        siblings = self._by_name.setdefault(stream.client.name, {})
        siblings[stream.request.stream] = stream
        stream.siblings = siblings


def _enter(part: dict[StreamKey, ServedStream], stream: ServedStream) -> None:
    """Put it last."""
    _leave(stream)
    part[stream.key] = stream
    stream.part = part


def _leave(stream: ServedStream) -> None:
    if stream.part is not None:
        del stream.part[stream.key]
        stream.part = None


def _key(stream: ServedStream) -> StreamKey:
    return stream.key

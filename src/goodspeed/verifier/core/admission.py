"""The streams that wait for KV memory: a bounded queue that is fair among clients."""

from dataclasses import dataclass

from goodspeed.protocol.session import VerifierStream
from goodspeed.verifier.core.client import Client


@dataclass(frozen=True, slots=True, eq=False)
class QueuedStream:
    """A stream that waits for KV memory."""

    client: Client
    protocol: VerifierStream
    capacity: int  # KV tokens that it may need at most

    @property
    def stream_id(self) -> int:
        return self.protocol.request.stream


class Admission:
    """Clients take turns; the streams of one client keep their order. No stream overtakes the head of the queue."""

    def __init__(self, max_admitted: int, max_queued: int) -> None:
        self.num_queued = 0
        self._num_admitted = 0
        self._max_admitted = max_admitted
        self._max_queued = max_queued
        self._queues: dict[str, dict[int, QueuedStream]] = {}  # by client and stream id; the next client first

    def enqueue(self, stream: QueuedStream) -> QueuedStream | None:
        """Queue the stream. Returns the stream that is turned away because the queue is full, if any.

        In a full queue a client with more streams in it yields to one with fewer, so that no client can fill it.
        """
        turned_away = None
        if self.num_queued >= max(self._max_queued, 1):
            turned_away = self._to_turn_away(stream)
            if turned_away is stream:
                return stream
            self.withdraw(turned_away.client, turned_away.stream_id)
        self._queues.setdefault(stream.client.name, {})[stream.stream_id] = stream
        self.num_queued += 1
        return turned_away

    def next_in_turn(self) -> QueuedStream | None:
        """The stream that is to be admitted next; None if none waits, or too many are admitted."""
        if not self._queues or self._num_admitted >= self._max_admitted:
            return None
        return next(iter(next(iter(self._queues.values())).values()))

    def admit(self, stream: QueuedStream) -> None:
        """Admit the stream that is next in turn."""
        name = stream.client.name
        self.withdraw(stream.client, stream.stream_id)
        if name in self._queues:
            self._queues[name] = self._queues.pop(name)
        self._num_admitted += 1

    def release(self) -> None:
        """An admitted stream has ended."""
        self._num_admitted -= 1

    def find(self, client: Client, stream_id: int) -> QueuedStream | None:
        """The waiting stream with this id."""
        return self._queues.get(client.name, {}).get(stream_id)

    def queued(self, client: Client) -> list[QueuedStream]:
        """The client's waiting streams, in order."""
        return list(self._queues.get(client.name, {}).values())

    def withdraw(self, client: Client, stream_id: int) -> None:
        """Take a stream out of the queue; nothing happens if it is not there."""
        queue = self._queues.get(client.name, {})
        if queue.pop(stream_id, None) is not None:
            self.num_queued -= 1
            if not queue:
                del self._queues[client.name]

    def _to_turn_away(self, newcomer: QueuedStream) -> QueuedStream:
        """The last stream of the longest queue, or the newcomer if its own queue would become as long as that."""
        longest = max(self._queues.values(), key=len)
        own = self._queues.get(newcomer.client.name, {})
        return next(reversed(longest.values())) if len(longest) > len(own) + 1 else newcomer

"""Who may hold KV memory, and who waits for it: a ledger, and a bounded queue that is fair among clients."""

from dataclasses import dataclass

from goodspeed.protocol.session import VerifierStream
from goodspeed.verifier.core.client import Client


@dataclass(frozen=True, slots=True, eq=False)
class Applicant:
    """A stream that wants memory."""

    client: Client
    end: VerifierStream
    capacity: int  # KV tokens
    since: float

    @property
    def stream_id(self) -> int:
        return self.end.request.stream


class Admission:
    """Clients take turns; a client's own streams keep their order. The head of the queue is never overtaken."""

    def __init__(self, kv_capacity: int, max_admitted: int, max_queued: int) -> None:
        self.kv_capacity = kv_capacity
        self.kv_used = 0
        self.num_queued = 0
        self._num_admitted = 0
        self._max_admitted = max_admitted
        self._max_queued = max_queued
        self._queues: dict[str, dict[int, Applicant]] = {}  # by client and stream id; the next client first

    def apply(self, applicant: Applicant) -> Applicant | None:
        """Queue the stream. Returns who is turned away for want of room, if anybody.

        In a full queue a client with more in it yields to one with fewer, so that nobody fills it alone.
        """
        turned_away = None
        if self.num_queued >= max(self._max_queued, 1):
            turned_away = self._greediest(applicant)
            if turned_away is applicant:
                return applicant
            self.withdraw(turned_away.client, turned_away.stream_id)
        self._queues.setdefault(applicant.client.name, {})[applicant.stream_id] = applicant
        self.num_queued += 1
        return turned_away

    def admit_next(self) -> Applicant | None:
        """The next in turn with its memory reserved, or None if nobody waits or it does not fit yet."""
        if not self._queues or self._num_admitted >= self._max_admitted:
            return None
        name, queue = next(iter(self._queues.items()))
        applicant = next(iter(queue.values()))
        if self.kv_used + applicant.capacity > self.kv_capacity:
            return None
        self.withdraw(applicant.client, applicant.stream_id)
        if name in self._queues:
            self._queues[name] = self._queues.pop(name)
        self.kv_used += applicant.capacity
        self._num_admitted += 1
        return applicant

    def release(self, capacity: int) -> None:
        """A stream's memory is free again."""
        self.kv_used -= capacity
        self._num_admitted -= 1

    def find(self, client: Client, stream_id: int) -> Applicant | None:
        """The waiting stream of this id."""
        return self._queues.get(client.name, {}).get(stream_id)

    def queued(self, client: Client) -> list[Applicant]:
        """The client's waiting streams, in order."""
        return list(self._queues.get(client.name, {}).values())

    def withdraw(self, client: Client, stream_id: int) -> Applicant | None:
        """Take a stream out of the queue, if it is there."""
        queue = self._queues.get(client.name, {})
        applicant = queue.pop(stream_id, None)
        if applicant is not None:
            self.num_queued -= 1
            if not queue:
                del self._queues[client.name]
        return applicant

    def _greediest(self, applicant: Applicant) -> Applicant:
        """The newcomer itself, or the newest of the longest queue if that is longer than the newcomer's would be."""
        longest = max(self._queues.values(), key=len)
        mine = self._queues.get(applicant.client.name, {})
        return next(reversed(longest.values())) if len(longest) > len(mine) + 1 else applicant

"""What the core has decided and the host has yet to collect: messages for links, stream updates for the engine."""

from collections.abc import Iterable

from goodspeed.decoding.draft import StreamKey
from goodspeed.engine.interface import StreamSpec
from goodspeed.protocol.messages import Error, Message, Refused
from goodspeed.verifier.core.batch import DropPrefix, EndStream, OpenStream, StreamUpdate
from goodspeed.verifier.core.client import ConnId

Reply = tuple[ConnId, Message]
"""A message for one link. Refused, and Error without a stream, end its session: the host then closes the link."""


def ends_session(message: Message) -> bool:
    """True if the host must close the link after it has sent this message."""
    return isinstance(message, Refused) or (isinstance(message, Error) and message.stream is None)


class VerifierOutbox:
    """The message handler and the core fill it; every call of the core drains the replies, every batch the updates."""

    def __init__(self) -> None:
        self._replies: list[Reply] = []
        self._updates: list[StreamUpdate] = []
        self._unopened: set[StreamKey] = set()

    @property
    def has_stream_updates(self) -> bool:
        """True if the engine has yet to open or end a stream, or to drop a prefix."""
        return bool(self._updates)

    def send(self, conn: ConnId | None, message: Message) -> None:
        """Queue a message; None is the link of a disconnected drafter, which gets nothing."""
        if conn is not None:
            self._replies.append((conn, message))

    def broadcast(self, conns: Iterable[ConnId], message: Message) -> None:
        """Queue the same message for several links."""
        self._replies.extend((conn, message) for conn in conns)

    def open_stream(self, key: StreamKey, spec: StreamSpec) -> None:
        """The engine opens the stream with the next batch."""
        self._updates.append(OpenStream(key, spec))
        self._unopened.add(key)

    def end_stream(self, key: StreamKey, num_retained: int, is_preempted: bool = False) -> None:
        """The engine ends the stream with the next batch, if it has opened it at all."""
        if key in self._unopened:
            assert not num_retained
            self._unopened.remove(key)
            self._updates = [update for update in self._updates if update.stream != key]
        else:
            self._updates.append(EndStream(key, num_retained, is_preempted))

    def drop_prefix(self, key: StreamKey) -> None:
        """The engine frees a retained stream with the next batch."""
        self._updates.append(DropPrefix(key))

    def take_replies(self) -> list[Reply]:
        """The messages since the last call, in the order in which they must be sent."""
        replies, self._replies = self._replies, []
        return replies

    def take_stream_updates(self) -> tuple[StreamUpdate, ...]:
        """The updates since the last call, in the order in which the engine carries them out."""
        updates = tuple(self._updates)
        self._updates.clear()
        self._unopened.clear()
        return updates

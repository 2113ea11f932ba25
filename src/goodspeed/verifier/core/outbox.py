"""What the core has decided and the host has yet to collect: messages for links, stream updates for the engine."""

from collections.abc import Iterable
from typing import NamedTuple

from goodspeed.decoding.draft import StreamKey
from goodspeed.engine.interface import StreamSpec
from goodspeed.protocol.messages import Error, Message, Refused
from goodspeed.verifier.core.client import ConnId

Reply = tuple[ConnId, Message]
"""A message for one link. Refused, and Error without a stream, end its session: the host then closes the link."""


def ends_session(message: Message) -> bool:
    """True if the host must close the link after it has sent this message."""
    return isinstance(message, Refused) or (isinstance(message, Error) and message.stream is None)


class StreamUpdates(NamedTuple):
    """What the engine does before its next step, in this order: the opened streams may need the others' memory."""

    closed: tuple[StreamKey, ...]
    evicted: tuple[StreamKey, ...]
    retained: tuple[tuple[StreamKey, int], ...]
    opened: tuple[tuple[StreamKey, StreamSpec], ...]


class VerifierOutbox:
    """The message handler and the core fill it; every call of the core drains the replies, every batch the updates."""

    def __init__(self) -> None:
        self._replies: list[Reply] = []
        self._opened: dict[StreamKey, StreamSpec] = {}
        self._closed: list[StreamKey] = []
        self._retained: dict[StreamKey, int] = {}
        self._evicted: list[StreamKey] = []
        self._sources: set[StreamKey] = set()  # of the cached prefixes of streams to open

    @property
    def has_stream_updates(self) -> bool:
        """True if the engine has yet to open, close or retain a stream."""
        return bool(self._opened or self._closed or self._retained or self._evicted)

    def send(self, conn: ConnId | None, message: Message) -> None:
        """Queue a message; None is the link of a disconnected drafter, which gets nothing."""
        if conn is not None:
            self._replies.append((conn, message))

    def broadcast(self, conns: Iterable[ConnId], message: Message) -> None:
        """Queue the same message for several links."""
        self._replies.extend((conn, message) for conn in conns)

    def open_stream(self, key: StreamKey, spec: StreamSpec) -> None:
        """The engine opens the stream with the next batch."""
        self._opened[key] = spec
        if spec.prefix:
            self._sources.add(spec.prefix.source)

    def is_source(self, key: StreamKey) -> bool:
        """True if the next batch may open a stream with the keys and values of this retained one."""
        return key in self._sources

    def close_stream(self, key: StreamKey) -> None:
        """The engine closes the stream with the next batch, if it has opened it at all."""
        if self._opened.pop(key, None) is None:
            self._closed.append(key)

    def retain_stream(self, key: StreamKey, num_tokens: int) -> None:
        """The stream has ended; with the next batch the engine keeps its first `num_tokens` tokens only."""
        self._retained[key] = num_tokens

    def evict(self, key: StreamKey) -> None:
        """The engine frees a retained stream with the next batch."""
        if self._retained.pop(key, None) is None:
            self._evicted.append(key)
        else:
            self._closed.append(key)

    def take_replies(self) -> list[Reply]:
        """The messages since the last call, in the order in which they must be sent."""
        replies, self._replies = self._replies, []
        return replies

    def take_stream_updates(self) -> StreamUpdates:
        """The updates since the last call."""
        updates = StreamUpdates(
            tuple(self._closed), tuple(self._evicted), tuple(self._retained.items()), tuple(self._opened.items())
        )
        self._closed.clear()
        self._evicted.clear()
        self._retained.clear()
        self._opened.clear()
        self._sources.clear()
        return updates

"""The streams of a core, each in the queue of its state."""

from collections.abc import Iterator
from enum import IntEnum
from typing import Generic, TypeVar

from goodspeed.decoding.draft import StreamKey

StateT = TypeVar("StateT", bound=IntEnum)
StreamT = TypeVar("StreamT")


class StreamQueues(Generic[StateT, StreamT]):
    """A table of streams by key, with one first-in-first-out queue per state.

    Iterating over the table yields all streams in the order in which they were added.
    """

    def __init__(self, states: type[StateT]) -> None:
        """The values of `states` must count from 0."""
        self._streams: dict[StreamKey, StreamT] = {}
        self._states: dict[StreamKey, StateT] = {}
        self._queues: list[dict[StreamKey, StreamT]] = [{} for _ in states]

    def __len__(self) -> int:
        return len(self._streams)

    def __iter__(self) -> Iterator[StreamT]:
        return iter(self._streams.values())

    def get(self, key: StreamKey) -> StreamT | None:
        return self._streams.get(key)

    def state(self, key: StreamKey) -> StateT | None:
        """None: the table does not have the stream."""
        return self._states.get(key)

    def queue(self, state: StateT) -> dict[StreamKey, StreamT]:
        """The streams in this state, the one that has been there longest first: a live dict, only to be read."""
        return self._queues[state]

    def put(self, key: StreamKey, stream: StreamT, state: StateT) -> None:
        """Add, move or replace the stream of this key; it becomes the last in the queue of `state`."""
        previous = self._states.get(key)
        if previous is not None:
            del self._queues[previous][key]
        self._streams[key] = stream
        self._states[key] = state
        self._queues[state][key] = stream

    def remove(self, key: StreamKey) -> None:
        """Raises KeyError for an unknown key."""
        del self._streams[key]
        del self._queues[self._states.pop(key)][key]

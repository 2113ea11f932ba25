"""What the draft engine has to know of its streams, and the work that it gets."""

from collections.abc import Sequence

from msgspec import Struct

from goodspeed.decoding.draft import DraftRequest, StreamKey
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.interface import DraftEngine


class StreamOpened(Struct, frozen=True):
    """The draft engine must open a stream with these committed tokens."""

    stream: StreamKey
    tokens: tuple[int, ...]
    sampling: Sampling


class StreamCommitted(Struct, frozen=True, gc=False):
    """The draft engine must append committed tokens to a stream."""

    stream: StreamKey
    tokens: tuple[int, ...]


class StreamClosed(Struct, frozen=True):
    """The draft engine must close a stream."""

    stream: StreamKey


EngineUpdate = StreamOpened | StreamCommitted | StreamClosed


class DraftWork(Struct, frozen=True, gc=False):
    """Updates to apply in order, then requests to draft for in one batch; either may be empty."""

    updates: Sequence[EngineUpdate]
    requests: Sequence[DraftRequest]


def apply_updates(engine: DraftEngine, updates: Sequence[EngineUpdate]) -> None:
    """Bring the engine's streams up to date."""
    for update in updates:
        if isinstance(update, StreamCommitted):
            engine.commit(update.stream, update.tokens)
        elif isinstance(update, StreamOpened):
            engine.open(update.stream, update.tokens, update.sampling)
        else:
            engine.close(update.stream)

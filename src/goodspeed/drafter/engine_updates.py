"""What a draft engine is told of its streams."""

from collections.abc import Sequence

from goodspeed.drafter.core.decisions import EngineUpdate, StreamCommitted, StreamOpened
from goodspeed.engine.interface import DraftEngine


def tell(engine: DraftEngine, notes: Sequence[EngineUpdate]) -> None:
    """All of it, in order."""
    for note in notes:
        if isinstance(note, StreamCommitted):
            engine.commit(note.stream, note.tokens)
        elif isinstance(note, StreamOpened):
            engine.open(note.stream, note.tokens, note.sampling)
        else:
            engine.close(note.stream)

"""What a draft engine is told of its streams."""

from collections.abc import Sequence

from goodspeed.drafter.core.decisions import Began, Note, WentOn
from goodspeed.engine.interface import DraftEngine


def tell(engine: DraftEngine, notes: Sequence[Note]) -> None:
    """All of it, in order."""
    for note in notes:
        if isinstance(note, WentOn):
            engine.commit(note.stream, note.tokens)
        elif isinstance(note, Began):
            engine.open(note.stream, note.tokens, note.sampling)
        else:
            engine.close(note.stream)

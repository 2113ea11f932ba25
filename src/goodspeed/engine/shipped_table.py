"""Finds the n-gram table in the package that was made for a tokenizer."""

from pathlib import Path

from goodspeed.engine.draft_memory import tokenizer_of
from goodspeed.models.catalog import SHIPPED_TABLES

PATTERN = "*.table.npz"


def shipped_table(tokenizer: str, folder: Path = SHIPPED_TABLES) -> Path | None:
    """The file of the table for this tokenizer fingerprint, or None. Raises CheckpointError."""
    return next((path for path in sorted(folder.glob(PATTERN)) if tokenizer and tokenizer_of(path) == tokenizer), None)

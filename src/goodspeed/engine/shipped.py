"""Which of the tables that come with the package fits a tokenizer."""

from importlib import resources
from pathlib import Path

from goodspeed.engine.memory import tokenizer_of

SHIPPED = Path(str(resources.files("goodspeed.models").joinpath("drafts")))
PATTERN = "*.table.npz"


def shipped_table(tokenizer: str, folder: Path = SHIPPED) -> Path | None:
    """The file of the table for this tokenizer (its fingerprint), None if there is none. Raises CheckpointError."""
    return next((path for path in sorted(folder.glob(PATTERN)) if tokenizer and tokenizer_of(path) == tokenizer), None)

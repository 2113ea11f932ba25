"""A reduced output vocabulary beside a checkpoint: the token ids that its head really has rows for. No torch here.

`draft_vocab.json` holds {"kept": [ascending ids]}. The checkpoint's own lm_head is of full size, so that every engine
loads it; in its other rows stands the mean of the kept ones, whose logit is never the largest.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from goodspeed.errors import CheckpointError
from goodspeed.models.folder import read_json, write_json

DRAFT_VOCAB = "draft_vocab.json"


def read_draft_vocab(folder: Path, vocab_size: int) -> npt.NDArray[np.int64] | None:
    """[n] ascending ids; None if the model says every token. Raises CheckpointError for ids that cannot be."""
    path = folder / DRAFT_VOCAB
    if not path.exists():
        return None
    kept = read_json(path).get("kept")
    if not isinstance(kept, list) or not kept or not all(isinstance(token, int) for token in kept):
        raise CheckpointError(f"{path}: 'kept' is {kept!r:.60}, expected token ids")
    ids = np.array(kept, dtype=np.int64)
    if ids[0] < 0 or ids[-1] >= vocab_size or np.any(np.diff(ids) <= 0):
        raise CheckpointError(f"{path}: expected ascending ids below {vocab_size}")
    return ids


def write_draft_vocab(folder: Path, kept: Sequence[int]) -> None:
    """Beside a checkpoint that is there."""
    write_json(folder / DRAFT_VOCAB, {"kept": list(kept)})

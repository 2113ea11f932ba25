"""The reduced output vocabulary of a draft checkpoint: the token ids that its head was trained for. Imports no torch.

`draft_vocab.json` has {"kept": [ascending ids]}. The lm_head of the checkpoint has the full size, so every engine can
load it. Its other rows are the mean of the kept ones, so their logits are never the largest.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from goodspeed.errors import CheckpointError
from goodspeed.models.folder import read_json, write_json

DRAFT_VOCAB = "draft_vocab.json"


def read_draft_vocab(folder: Path, vocab_size: int) -> npt.NDArray[np.int64] | None:
    """[n] ascending ids, or None if the vocabulary is not reduced. Raises CheckpointError for invalid ids."""
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
    """Write the file into the folder of a checkpoint."""
    write_json(folder / DRAFT_VOCAB, {"kept": list(kept)})

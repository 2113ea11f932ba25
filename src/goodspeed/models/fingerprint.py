"""What makes two models the same: equal fingerprints give equal text."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from goodspeed.models.cache import file_digest
from goodspeed.models.folder import weight_files
from goodspeed.models.model_config import read_config


def model_fingerprint(folder: Path, precision: str) -> str:
    """16 hex digits of the model's shape, its weights and the precision that it is computed in ("fp32", "bf16").

    The digests of the weight files are remembered, so that all calls but the first cost milliseconds.
    Raises CheckpointError if the folder holds no readable model.
    """
    facts = {
        "config": asdict(read_config(folder)),
        "weights": [file_digest(path) for path in weight_files(folder)],
        "precision": precision,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

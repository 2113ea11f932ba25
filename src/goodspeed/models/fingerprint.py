"""Model fingerprints: models with equal fingerprints generate equal text."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from goodspeed.models.cache import file_digest
from goodspeed.models.folder import weight_files
from goodspeed.models.model_config import read_config


def model_fingerprint(folder: Path, precision: str) -> str:
    """16 hex digits: a hash of the model's shape, its weights and the compute precision ("fp32", "bf16").

    The digests of the weight files are cached, so later calls take milliseconds. Raises CheckpointError if the folder
    has no readable model.
    """
    facts = {
        "config": asdict(read_config(folder)),
        "weights": [file_digest(path) for path in weight_files(folder)],
        "precision": precision,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

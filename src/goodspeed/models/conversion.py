"""Converts a GGUF file to a model folder in the Hugging Face layout, once, in the cache.

Weights are stored in bfloat16. That is half the disk and page cache of float32, and a bfloat16 engine maps it without a
copy. A float32 engine uses the same numbers, so the two differ only in arithmetic. The rounding changes a weight by at
most 0.2%, which is small compared with the quantisation of the file (docs/reference/models.md has the measured
perplexities).
"""

from pathlib import Path

import torch

from goodspeed.errors import CheckpointError
from goodspeed.models.cache import fill
from goodspeed.models.checkpoint import tensor_shapes, write_checkpoint
from goodspeed.models.gguf import GgufFile
from goodspeed.models.gguf_tokenizer import write_tokenizer
from goodspeed.models.sources import Progress


def convert(path: Path, folder: Path, progress: Progress) -> None:
    """Create `folder` atomically from a GGUF file. `progress` is called per tensor. Raises CheckpointError."""
    file = GgufFile(path)
    fill(folder, lambda empty: _write(file, empty, progress))


def _write(file: GgufFile, folder: Path, progress: Progress) -> None:
    config = file.config()
    write_tokenizer(file, folder)
    write_checkpoint(folder, config, _weights(file, progress))


def _weights(file: GgufFile, progress: Progress) -> dict[str, torch.Tensor]:
    config = file.config()
    expected = tensor_shapes(config)
    weights: dict[str, torch.Tensor] = {}
    for name, weight in file.tensors(config):
        if weight.shape != expected.get(name):
            raise CheckpointError(f"{file.path}: {name} has shape {list(weight.shape)}, expected {expected.get(name)}")
        weights[name] = torch.from_numpy(weight).to(torch.bfloat16)
        progress(len(weights), file.num_tensors)
    if missing := [name for name in expected if name not in weights]:
        raise CheckpointError(f"{file.path} lacks {missing[0]} ({len(missing)} of {len(expected)} tensors are missing)")
    return weights

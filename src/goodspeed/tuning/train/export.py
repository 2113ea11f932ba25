"""Export of a student to a model folder that transformers, vLLM and the embedded engine load."""

from collections.abc import Mapping
from pathlib import Path

import torch

from goodspeed.errors import CheckpointError
from goodspeed.models.assistant import ASSISTANT
from goodspeed.models.checkpoint import write_checkpoint
from goodspeed.models.draft_vocab import write_draft_vocab
from goodspeed.models.folder import copy_tokenizer
from goodspeed.models.model_config import ModelConfig


def export(
    folder: Path,
    config: ModelConfig,
    weights: Mapping[str, torch.Tensor],
    draft_vocab: torch.Tensor | None,
    tokenizer: Path,
) -> None:
    """Write weights in bfloat16, the tokenizer of the folder `tokenizer`, and the reduced vocabulary, if there is one.

    Raises CheckpointError if the disk is full or read-only.
    """
    try:
        rounded = {name: weight.to(torch.bfloat16) for name, weight in weights.items()}
        write_checkpoint(folder, config, rounded, ASSISTANT)
        copy_tokenizer(tokenizer, folder)
        if draft_vocab is not None:
            write_draft_vocab(folder, draft_vocab.tolist())
    except OSError as error:
        raise CheckpointError(f"cannot write {folder}: {error}") from error

"""Packed draft models: small files for distribution, and their conversion to ordinary checkpoints.

A packed draft is a safetensors file with quantised matrices, norms in float16, the kept token ids, and the shape as
metadata. Its embedding is the target's, which several drafts share in a separate file. Tokens that are common in
answers have more bits there than the others.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from goodspeed.errors import CheckpointError
from goodspeed.models.assistant import ASSISTANT
from goodspeed.models.checkpoint import write_checkpoint
from goodspeed.models.draft_vocab import write_draft_vocab
from goodspeed.models.model_config import ModelConfig
from goodspeed.models.quantisation import QuantisedMatrix, quantise, restore

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
PLANES, SCALES = ".planes", ".scales"
Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class UnpackedDraft:
    """The content of a packed draft."""

    config: ModelConfig
    weights: Mapping[str, torch.Tensor]
    """Without the embedding; the head has only the kept rows."""
    kept: npt.NDArray[np.int64]


def pack_embedding(path: Path, embedding: torch.Tensor, common: npt.NDArray[np.int64], bits: tuple[int, int]) -> None:
    """Write the embedding [vocab, hidden]: rows of `common` tokens (ascending) in bits[0], others in bits[1]."""
    weight = embedding.float().numpy()
    is_common = np.zeros(len(weight), dtype=bool)
    is_common[common] = True
    arrays = {"common": common.astype(np.int32)}
    for name, rows, num_bits in (("often", weight[is_common], bits[0]), ("seldom", weight[~is_common], bits[1])):
        arrays |= _stored(name, quantise(np.ascontiguousarray(rows), num_bits))
    save_file(arrays, path)


def unpack_embedding(path: Path) -> torch.Tensor:
    """[vocab, hidden] float32. Raises CheckpointError."""
    arrays, _ = _read(path)
    often, seldom = (_restored(arrays, name, path) for name in ("often", "seldom"))
    is_common = np.zeros(len(often) + len(seldom), dtype=bool)
    is_common[arrays["common"]] = True
    embedding = np.empty((len(is_common), often.shape[1]), dtype=np.float32)
    embedding[is_common], embedding[~is_common] = often, seldom
    return torch.from_numpy(embedding)


def pack_draft(path: Path, draft: UnpackedDraft, bits: int) -> None:
    """Write a draft without its embedding, with matrices in `bits` bits."""
    arrays: dict[str, npt.NDArray[Any]] = {"kept": draft.kept.astype(np.int32)}
    for name, tensor in draft.weights.items():
        weight = tensor.float().numpy()
        arrays |= _stored(name, quantise(weight, bits)) if weight.ndim == 2 else {name: weight.astype(np.float16)}
    save_file(arrays, path, metadata={"config": json.dumps(asdict(draft.config))})


def unpack_draft(path: Path) -> UnpackedDraft:
    """Read a file of pack_draft. Raises CheckpointError."""
    arrays, metadata = _read(path)
    try:
        values = json.loads(metadata["config"])
        config = ModelConfig(**{**values, "end_tokens": tuple(values["end_tokens"])})
        kept = arrays["kept"].astype(np.int64)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is not a packed draft: {error}") from error
    weights = {name: array for name, array in arrays.items() if name != "kept" and not name.endswith((PLANES, SCALES))}
    matrices = [name.removesuffix(PLANES) for name in arrays if name.endswith(PLANES)]
    weights |= {name: _restored(arrays, name, path) for name in matrices}
    return UnpackedDraft(
        config, {name: torch.from_numpy(array.astype(np.float32)) for name, array in weights.items()}, kept
    )


def unpack(draft: Path, embedding: Path, folder: Path) -> None:
    """Write an ordinary checkpoint without the tokenizer into `folder`. Raises CheckpointError."""
    packed = unpack_draft(draft)
    weights = {**packed.weights, EMBEDDING: unpack_embedding(embedding)}
    weights[HEAD] = spread_head(weights[HEAD], torch.from_numpy(packed.kept), packed.config.vocab_size)
    weights = {name: weight.to(torch.bfloat16) for name, weight in weights.items()}
    write_checkpoint(folder, packed.config, weights, ASSISTANT)
    write_draft_vocab(folder, packed.kept.tolist())


def spread_head(
    rows: torch.Tensor,  # [kept, hidden]
    kept: torch.Tensor,  # [kept] int64
    vocab_size: int,
) -> torch.Tensor:
    """[vocab, hidden]: a head of full size, in which the rows of dropped tokens are the mean of the kept ones.

    So the logit of a dropped token is the mean of the kept logits, which is at most the largest. Every engine makes the
    same greedy choice with this head as with the small one.
    """
    head = rows.mean(0).repeat(vocab_size, 1)
    head[kept] = rows
    return head


def _stored(name: str, matrix: QuantisedMatrix) -> dict[str, npt.NDArray[Any]]:
    return {name + PLANES: matrix.planes, name + SCALES: matrix.scales}


def _restored(arrays: Arrays, name: str, path: Path) -> npt.NDArray[np.float32]:
    try:
        return restore(QuantisedMatrix(arrays[name + PLANES], arrays[name + SCALES]))
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{path}: {name} is not a packed matrix: {error}") from error


def _read(path: Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.offset_keys()}, file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error

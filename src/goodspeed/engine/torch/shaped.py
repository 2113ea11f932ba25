"""A shaped pair: a target with the shape and cost of a real model, and a draft with a chosen acceptance rate.

It measures performance without model weights. The target has random weights, and its function is narrow: the first
layer uses WIDTH of the hidden dimensions and one group of heads, and the other layers add nothing, because their output
projections are zero. So a draft with one narrow layer computes the same function, except for rounding. The acceptance
rate is set by permuting the logits at positions that a hash chooses.

Both models are made from (shape, seed) only, in any process. Answers consist of LIVE token ids, so the draft needs only
a small vocabulary head and costs less than a trained draft (docs/explain/drafts.md has the difference). A token is
followed by its successor on one long cycle, except where attention changes it, so no text ends in a short loop.
"""

import hashlib
import math
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from goodspeed.decoding.draft import StreamKey
from goodspeed.engine.draft_model import DraftModel, StreamInput
from goodspeed.models.checkpoint import tensor_shapes
from goodspeed.models.model_config import ModelConfig

WIDTH = 128  # hidden dimensions that are used
INNER = 256  # MLP dimensions of the first layer that are used
LIVE = range(256, 4096)
"""Token ids of answers: no special tokens, and within the vocabulary of every tokenizer."""
BIAS = 0
"""A hidden dimension that is equal for all tokens; the head uses it to exclude tokens outside LIVE."""
LOGIT_DEVIATION = 3.0
STRIDE = 1009
"""Distance from a live token to its successor; coprime to their number, so that all are on one cycle."""
FILLER_DEVIATION = 0.02
FILLER_PERIOD = 2**20 + 7
FIRST = "model.layers.0."
"""The only layer that changes the result."""
EMBEDDING, HEAD, ATTENTION, MLP = "model.embed_tokens.weight", "lm_head.weight", FIRST + "self_attn.", FIRST + "mlp."
OUTPUTS = ("o_proj.weight", "down_proj.weight")


def target_config(shape: ModelConfig) -> ModelConfig:
    """The config of the shaped target: that of the model, with a separate head (at no cost) and without end tokens."""
    return replace(shape, tie_word_embeddings=False, end_tokens=())


def draft_config(shape: ModelConfig) -> ModelConfig:
    """The config of the draft: one narrow layer with one group of heads."""
    width = min(WIDTH, shape.hidden_size)
    return replace(
        target_config(shape),
        hidden_size=width,
        intermediate_size=min(INNER, shape.intermediate_size),
        num_layers=1,
        num_heads=shape.num_heads // shape.num_kv_heads,
        num_kv_heads=1,
        rms_norm_eps=shape.rms_norm_eps * shape.hidden_size / width,
    )


def draft_weights(shape: ModelConfig, seed: int) -> dict[str, torch.Tensor]:
    """The float32 weights of draft_config(shape), except that the head has LIVE.stop rows."""
    sizes = tensor_shapes(draft_config(shape))
    gain = math.sqrt(shape.hidden_size / draft_config(shape).hidden_size)  # a mean over fewer dimensions is larger
    weights = {
        name: torch.full(size, gain if _is_hidden_norm(name) else 1.0)
        if _is_norm(name)
        else _core(name, size, seed, shape)
        for name, size in sizes.items()
        if name != HEAD
    }
    return {**weights, HEAD: _head(weights[EMBEDDING], shape)}


class TargetWeights(Mapping[str, torch.Tensor]):
    """The float32 weights of target_config(shape), each made on access. The core of the first layer is the draft's."""

    def __init__(self, shape: ModelConfig, seed: int) -> None:
        self._shape = shape
        self._sizes = tensor_shapes(target_config(shape))
        self._core = draft_weights(shape, seed)

    def __getitem__(self, name: str) -> torch.Tensor:
        size = self._sizes[name]
        if _is_norm(name):
            return torch.ones(size)
        is_zero = name.endswith((*OUTPUTS, "bias")) or name == EMBEDDING
        tensor = torch.zeros(size) if is_zero else _filler(size)
        if name == HEAD:
            tensor[:, BIAS] = -_dead_weight(self._shape)
        if name in self._core:
            core = self._core[name]
            tensor[tuple(slice(length) for length in core.shape)] = core
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._sizes)

    def __len__(self) -> int:
        return len(self._sizes)


class DialledModel:
    """A DraftModel with a chosen acceptance rate: with probability 1 - acceptance_rate it permutes its logits.

    A hash of seed, position and last token decides, so drafting the same position again gives the same result.
    """

    def __init__(self, model: DraftModel, acceptance_rate: float, seed: int) -> None:
        self.vocab_size = model.vocab_size
        self.max_context = model.max_context
        self._model = model
        self._acceptance_rate = acceptance_rate
        self._seed = seed

    def open(self, stream: StreamKey, capacity: int) -> None:
        self._model.open(stream, capacity)

    def run(self, inputs: Sequence[StreamInput]) -> npt.NDArray[np.float32]:
        rows = self._model.run(inputs)
        for row, new in zip(rows, inputs, strict=True):
            if self._is_wrong(new.num_cached + len(new.tokens), new.tokens[-1]):
                row[LIVE.start : LIVE.stop] = np.roll(row[LIVE.start : LIVE.stop], 1)
        return rows

    def close(self, stream: StreamKey) -> None:
        self._model.close(stream)

    def _is_wrong(self, position: int, last_token: int) -> bool:
        packed = struct.pack("<3Q", self._seed, position, last_token)
        bits = int.from_bytes(hashlib.blake2b(packed, digest_size=8).digest(), "little")
        return bits >= self._acceptance_rate * 2**64


def _is_norm(name: str) -> bool:
    return "norm" in name


def _is_hidden_norm(name: str) -> bool:
    """Whether the norm is over the hidden dimensions, not over those of a head."""
    return "layernorm" in name or name == "model.norm.weight"


def _core(name: str, size: tuple[int, ...], seed: int, shape: ModelConfig) -> torch.Tensor:
    """A weight of the draft. Its normalised inputs have length sqrt(hidden_size) and few nonzero dimensions."""
    if name.endswith("bias"):
        return torch.zeros(size)
    unit = 1.0 / math.sqrt(shape.hidden_size)
    scale = {
        EMBEDDING: 1.0,
        ATTENTION + "q_proj.weight": 2.5 * unit,  # standard deviation of scores 2.5: attention selects few positions
        ATTENTION + "o_proj.weight": 2.0 / math.sqrt(size[-1]),
        MLP + "down_proj.weight": 1.0 / math.sqrt(size[-1]),
    }.get(name, unit)
    tensor = _normal(name, size, seed).mul_(scale)
    if name == EMBEDDING:
        tensor[:, BIAS] = math.sqrt(size[1])
    elif name.endswith(OUTPUTS):
        tensor[BIAS] = 0.0
    return tensor


def _head(embedding: torch.Tensor, shape: ModelConfig) -> torch.Tensor:
    """[LIVE.stop, width]: the row of a live token is the embedding of its predecessor."""
    head = torch.zeros(LIVE.stop, embedding.shape[1])
    head[LIVE.start :] = embedding[LIVE.start : LIVE.stop].roll(STRIDE, 0) * (
        LOGIT_DEVIATION / math.sqrt(shape.hidden_size)
    )
    head[:, BIAS] = 0.0
    head[: LIVE.start, BIAS] = -_dead_weight(shape)
    return head


def _dead_weight(shape: ModelConfig) -> float:
    """Weight of BIAS, which has a fraction of the length sqrt(hidden_size): logits of about -20, never chosen."""
    return 50.0 / math.sqrt(shape.hidden_size)


def _normal(name: str, size: tuple[int, ...], seed: int) -> torch.Tensor:
    """Standard normal numbers that depend on name, size and seed only."""
    rng = np.random.Generator(np.random.Philox(key=[seed, zlib.crc32(name.encode())]))
    return torch.from_numpy(rng.standard_normal(size, dtype=np.float32))


def _filler(size: tuple[int, ...]) -> torch.Tensor:
    """Weights that cost time and do not change the result: a short random sequence, repeated."""
    block = _normal("filler", (FILLER_PERIOD,), 0).numpy() * FILLER_DEVIATION
    return torch.from_numpy(np.resize(block, size))

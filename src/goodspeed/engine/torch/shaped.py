"""A pair of any real shape, whose cost is real and whose acceptance rate is dialled: for performance without weights.

The target has the shape, and so the cost, of a real model, and random weights. What it computes is narrow: its first
layer works on WIDTH of the hidden dimensions and one group of heads, and the other layers add nothing, since their
output projections are zero. So a draft of one narrow layer computes the very same function; it agrees with the target
but for rounding. The acceptance rate is dialled by giving, at places that a hash chooses, other tokens' logits.

Both halves are made from (shape, seed) alone, wherever they run. Answers keep to LIVE token ids, so the draft needs but
a small vocabulary head, and costs less than a trained one would (docs/drafts.md says how much). A token is followed by
its successor on one long cycle, but where attention makes it jump: no text ends in a short loop.
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

WIDTH = 128  # hidden dimensions that carry anything
INNER = 256  # dimensions of the first layer's MLP that do
LIVE = range(256, 4096)
"""Token ids that answers are made of: no special tokens, and within every tokenizer's vocabulary."""
BIAS = 0
"""The hidden dimension that is the same for every token: the head uses it to keep to LIVE."""
LOGIT_DEVIATION = 3.0
STRIDE = 1009
"""From a live token to its successor; prime to their number, so that all lie on one cycle."""
FILLER_DEVIATION = 0.02
FILLER_PERIOD = 2**20 + 7
FIRST = "model.layers.0."
"""The layer that computes."""
EMBEDDING, HEAD, ATTENTION, MLP = "model.embed_tokens.weight", "lm_head.weight", FIRST + "self_attn.", FIRST + "mlp."
OUTPUTS = ("o_proj.weight", "down_proj.weight")


def target_config(shape: ModelConfig) -> ModelConfig:
    """The shaped target's: the model's own, but for a head apart from the embedding (at no cost) and no end."""
    return replace(shape, tie_word_embeddings=False, end_tokens=())


def draft_config(shape: ModelConfig) -> ModelConfig:
    """The draft's: one narrow layer with one group of heads."""
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
    """Of draft_config(shape), float32, but for a head of LIVE.stop rows."""
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
    """Of target_config(shape), float32, each made when it is asked for. The core of the first layer is the draft's."""

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
    """A DraftModel that is wrong on purpose: with probability 1 - acceptance_rate it mixes up its tokens.

    A hash of seed, position and the last token decides, so drafting again gives the same.
    """

    def __init__(self, model: DraftModel, acceptance_rate: float, seed: int) -> None:
        self.vocab_size = model.vocab_size
        self.max_context = model.max_context
        self._model = model
        self._acceptance_rate = acceptance_rate
        self._seed = seed

    def open(self, stream: StreamKey, capacity: int) -> None:
        self._model.open(stream, capacity)

    def run(self, pieces: Sequence[StreamInput]) -> npt.NDArray[np.float32]:
        rows = self._model.run(pieces)
        for row, piece in zip(rows, pieces, strict=True):
            if self._is_wrong(piece.num_kept + len(piece.tokens), piece.tokens[-1]):
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
    """Over hidden dimensions, not over a head's."""
    return "layernorm" in name or name == "model.norm.weight"


def _core(name: str, size: tuple[int, ...], seed: int, shape: ModelConfig) -> torch.Tensor:
    """What the draft computes with. Normalised inputs have length sqrt(hidden_size), and few dimensions."""
    if name.endswith("bias"):
        return torch.zeros(size)
    unit = 1.0 / math.sqrt(shape.hidden_size)
    scale = {
        EMBEDDING: 1.0,
        ATTENTION + "q_proj.weight": 2.5 * unit,  # scores deviate by 2.5: attention that picks
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
    """[LIVE.stop, width]: the row of a live token is the embedding of the one that it succeeds."""
    head = torch.zeros(LIVE.stop, embedding.shape[1])
    head[LIVE.start :] = embedding[LIVE.start : LIVE.stop].roll(STRIDE, 0) * (
        LOGIT_DEVIATION / math.sqrt(shape.hidden_size)
    )
    head[:, BIAS] = 0.0
    head[: LIVE.start, BIAS] = -_dead_weight(shape)
    return head


def _dead_weight(shape: ModelConfig) -> float:
    """On BIAS, which holds a fraction of the length sqrt(hidden_size): logits of about -20, never chosen."""
    return 50.0 / math.sqrt(shape.hidden_size)


def _normal(name: str, size: tuple[int, ...], seed: int) -> torch.Tensor:
    """Standard normal numbers that depend on name, size and seed alone."""
    rng = np.random.Generator(np.random.Philox(key=[seed, zlib.crc32(name.encode())]))
    return torch.from_numpy(rng.standard_normal(size, dtype=np.float32))


def _filler(size: tuple[int, ...]) -> torch.Tensor:
    """Numbers that cost what weights cost and decide nothing: one short random sequence, repeated."""
    block = _normal("filler", (FILLER_PERIOD,), 0).numpy() * FILLER_DEVIATION
    return torch.from_numpy(np.resize(block, size))

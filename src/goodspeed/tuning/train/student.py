"""The model that learns: the Llama family in plain torch, with float32 masters and products in bfloat16.

Leaner than transformers' modules: several documents lie in one row, the head runs where there is a loss only, and every
product is in the low precision, backward too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from goodspeed.engine.torch.rope import Rope
from goodspeed.models.model_config import ModelConfig
from goodspeed.models.packing import EMBEDDING, HEAD, spread_head
from goodspeed.tuning.data.packed_rows import PackedRows

NORM = "model.norm.weight"
INNER, OUTER = ":inner", ":outer"
"""Ends of the names of two thin matrices whose product is added to a frozen one."""


@dataclass(frozen=True, slots=True)
class StudentInit:
    """Where a student begins: its shape, full-size weights by their Hugging Face names, and its vocabulary."""

    config: ModelConfig
    weights: Mapping[str, torch.Tensor]
    kept: torch.Tensor | None
    """[n] int64, ascending: token ids that its head has rows for; None: all of them."""


class Student(nn.Module):
    """A decoder whose parameters have their checkpoint's names, dots written as '/'."""

    def __init__(self, start: StudentInit, trained: Sequence[str], dtype: torch.dtype, rank: int = 0) -> None:
        """`trained`: beginnings of the names of what learns, for instance "model.layers."; the rest is frozen.

        With a rank the layers' matrices are frozen too, and a product of two thin ones that is added to each learns
        (LoRA, Hu et al. 2022; it starts as zero).
        """
        super().__init__()
        self.config, self.kept = start.config, start.kept
        self._dtype = dtype
        self._rope = Rope(start.config, start.config.max_context, dtype, torch.device("cpu"))
        generator = torch.Generator().manual_seed(0)
        for name, weight in _with_head(start).items():
            is_trained = name.startswith(tuple(trained))
            if is_trained and rank and weight.dim() == 2 and name.startswith("model.layers."):
                is_trained = False
                inner = torch.randn(rank, weight.shape[1], generator=generator) / weight.shape[1] ** 0.5
                self.register_parameter(_key(name) + INNER, nn.Parameter(inner))
                self.register_parameter(_key(name) + OUTER, nn.Parameter(torch.zeros(len(weight), rank)))
            value = weight.detach().to(torch.float32 if is_trained else dtype, copy=True)
            self.register_parameter(_key(name), nn.Parameter(value, requires_grad=is_trained))

    def forward(self, rows: PackedRows) -> torch.Tensor:
        """[documents' positions with a loss, hidden]: what the head reads there, in the order of rows.places."""
        x = F.embedding(rows.tokens, self._weight(EMBEDDING))
        cos, sin = self._rope.at(rows.positions)  # [rows, length, 1, head_dim]
        mask = rows.mask(self._dtype)
        for i in range(self.config.num_layers):
            x = self._layer(f"model.layers.{i}.", x, (cos, sin), mask)
        return self._norm(NORM, x.flatten(0, 1)[rows.places])

    def head(self) -> torch.Tensor:
        """[kept tokens, hidden]: the rows of the head, in the precision of the products."""
        return self._weight(HEAD)

    def export(self) -> dict[str, torch.Tensor]:
        """Full-size float32 weights by name, the head's as packing.spread_head makes them."""
        names = [_name(key) for key, _ in self.named_parameters() if not key.endswith((INNER, OUTER))]
        weights = {name: self._sum(name).detach().float() for name in names}
        if self.kept is not None:
            weights[HEAD] = spread_head(weights[HEAD], self.kept, self.config.vocab_size)
        return weights

    def _layer(
        self, prefix: str, x: torch.Tensor, rotation: tuple[torch.Tensor, torch.Tensor], mask: torch.Tensor
    ) -> torch.Tensor:
        x = x + self._attention(prefix + "self_attn.", self._norm(prefix + "input_layernorm.weight", x), rotation, mask)
        y = self._norm(prefix + "post_attention_layernorm.weight", x)
        gate, up = (self._linear(f"{prefix}mlp.{name}_proj", y) for name in ("gate", "up"))
        return x + self._linear(prefix + "mlp.down_proj", F.silu(gate) * up)

    def _attention(
        self, prefix: str, x: torch.Tensor, rotation: tuple[torch.Tensor, torch.Tensor], mask: torch.Tensor
    ) -> torch.Tensor:
        config = self.config
        queries, keys, values = (
            self._linear(f"{prefix}{name}_proj", x).unflatten(-1, (-1, config.head_dim)) for name in ("q", "k", "v")
        )
        if config.qk_norm:
            queries = self._norm(prefix + "q_norm.weight", queries)
            keys = self._norm(prefix + "k_norm.weight", keys)
        heads = (_turned(queries, *rotation), _turned(keys, *rotation), values)
        group = config.num_heads // config.num_kv_heads
        q, k, v = (part.transpose(1, 2) for part in heads)
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        # Forward and backward in half the time of torch's scaled_dot_product_attention on a CPU, masked rows of 512.
        scores = (q * config.head_dim**-0.5) @ k.transpose(2, 3) + mask
        return self._linear(prefix + "o_proj", (scores.softmax(-1) @ v).transpose(1, 2).flatten(2))

    def _linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        bias = getattr(self, _key(name + ".bias"), None)
        return F.linear(x, self._weight(name + ".weight"), None if bias is None else bias.to(self._dtype))

    def _norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        weight = self._weight(name)
        return F.rms_norm(x, weight.shape, weight, self.config.rms_norm_eps)

    def _weight(self, name: str) -> torch.Tensor:
        return self._sum(name).to(self._dtype)

    def _sum(self, name: str) -> torch.Tensor:
        """The parameter, and what is added to it."""
        key = _key(name)
        whole: torch.Tensor = self.get_parameter(key)
        if key + INNER not in self._parameters:
            return whole
        return whole.float() + self.get_parameter(key + OUTER) @ self.get_parameter(key + INNER)

    def place(self, device: torch.device) -> "Student":
        """Moved to the device, its rotations too."""
        self._rope = Rope(self.config, self.config.max_context, self._dtype, device)
        return self.to(device)


def _with_head(start: StudentInit) -> dict[str, torch.Tensor]:
    """A head of its own, of the kept rows, in place of one that is tied to the embedding."""
    weights = dict(start.weights)
    head = weights.get(HEAD, weights[EMBEDDING])
    return weights | {HEAD: head if start.kept is None else head[start.kept]}


def _turned(heads: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    return heads * cos + heads.roll(heads.shape[-1] // 2, -1) * sin


def _key(name: str) -> str:
    return name.replace(".", "/")


def _name(key: str) -> str:
    return key.replace("/", ".")

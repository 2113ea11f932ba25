"""The student: a trainable model of the Llama family in plain torch, with float32 weights and products in bfloat16.

It does less work than transformers' modules: a row packs several documents, the head runs only at positions with a
loss, and all products are in the low precision, in the backward pass too.
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
"""Name suffixes of the two LoRA matrices whose product is added to a frozen matrix."""


@dataclass(frozen=True, slots=True)
class StudentInit:
    """The start of a student: its shape, weights by their Hugging Face names, and its vocabulary."""

    config: ModelConfig
    weights: Mapping[str, torch.Tensor]
    draft_vocab: torch.Tensor | None
    """[n] int64, ascending: the token ids that the head has rows for; None: all."""


class Student(nn.Module):
    """A decoder whose parameters have the names of the checkpoint, with '/' for the dots."""

    def __init__(self, init: StudentInit, trained: Sequence[str], dtype: torch.dtype, rank: int = 0) -> None:
        """`trained`: name prefixes of the trained parameters, for instance "model.layers."; the rest is frozen.

        With a rank, the layers' matrices are frozen too, and LoRA adapters on them are trained (Hu et al. 2022).
        """
        super().__init__()
        self.config, self.draft_vocab = init.config, init.draft_vocab
        self._dtype = dtype
        self._rope = Rope(init.config, init.config.max_context, dtype, torch.device("cpu"))
        generator = torch.Generator().manual_seed(0)
        for name, weight in _with_head(init).items():
            is_trained = name.startswith(tuple(trained))
            if is_trained and rank and weight.dim() == 2 and name.startswith("model.layers."):
                is_trained = False
                inner = torch.randn(rank, weight.shape[1], generator=generator) / weight.shape[1] ** 0.5
                self.register_parameter(_key(name) + INNER, nn.Parameter(inner))
                self.register_parameter(_key(name) + OUTER, nn.Parameter(torch.zeros(len(weight), rank)))
            value = weight.detach().to(torch.float32 if is_trained else dtype, copy=True)
            self.register_parameter(_key(name), nn.Parameter(value, requires_grad=is_trained))

    def forward(self, rows: PackedRows) -> torch.Tensor:
        """[positions with a loss, hidden]: the head's input, in the order of rows.loss_positions."""
        x = F.embedding(rows.tokens, self._weight(EMBEDDING))
        cos, sin = self._rope.at(rows.positions)  # [rows, length, 1, head_dim]
        mask = rows.mask(self._dtype)
        for i in range(self.config.num_layers):
            x = self._layer(f"model.layers.{i}.", x, (cos, sin), mask)
        return self._norm(NORM, x.flatten(0, 1)[rows.loss_positions])

    def head(self) -> torch.Tensor:
        """[draft vocabulary, hidden]: the head, in the precision of the products."""
        return self._weight(HEAD)

    def export(self) -> dict[str, torch.Tensor]:
        """float32 weights by name; the head has all rows of the vocabulary, see packing.spread_head."""
        names = [_name(key) for key, _ in self.named_parameters() if not key.endswith((INNER, OUTER))]
        weights = {name: self._merged(name).detach().float() for name in names}
        if self.draft_vocab is not None:
            weights[HEAD] = spread_head(weights[HEAD], self.draft_vocab, self.config.vocab_size)
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
        heads = (_rotated(queries, *rotation), _rotated(keys, *rotation), values)
        group = config.num_heads // config.num_kv_heads
        q, k, v = (part.transpose(1, 2) for part in heads)
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        # Twice as fast as torch's scaled_dot_product_attention, forward and backward, on a CPU with masked rows of 512.
        scores = (q * config.head_dim**-0.5) @ k.transpose(2, 3) + mask
        return self._linear(prefix + "o_proj", (scores.softmax(-1) @ v).transpose(1, 2).flatten(2))

    def _linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        bias = getattr(self, _key(name + ".bias"), None)
        return F.linear(x, self._weight(name + ".weight"), None if bias is None else bias.to(self._dtype))

    def _norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        weight = self._weight(name)
        return F.rms_norm(x, weight.shape, weight, self.config.rms_norm_eps)

    def _weight(self, name: str) -> torch.Tensor:
        return self._merged(name).to(self._dtype)

    def _merged(self, name: str) -> torch.Tensor:
        """The parameter plus its LoRA product, if there is one."""
        key = _key(name)
        weight: torch.Tensor = self.get_parameter(key)
        if key + INNER not in self._parameters:
            return weight
        return weight.float() + self.get_parameter(key + OUTER) @ self.get_parameter(key + INNER)

    def place(self, device: torch.device) -> "Student":
        """Move parameters and rotations to the device."""
        self._rope = Rope(self.config, self.config.max_context, self._dtype, device)
        return self.to(device)


def _with_head(init: StudentInit) -> dict[str, torch.Tensor]:
    """The weights with a separate head for the draft vocabulary, also where it was tied to the embedding."""
    weights = dict(init.weights)
    head = weights.get(HEAD, weights[EMBEDDING])
    return weights | {HEAD: head if init.draft_vocab is None else head[init.draft_vocab]}


def _rotated(heads: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    return heads * cos + heads.roll(heads.shape[-1] // 2, -1) * sin


def _key(name: str) -> str:
    return name.replace(".", "/")


def _name(key: str) -> str:
    return key.replace("/", ".")

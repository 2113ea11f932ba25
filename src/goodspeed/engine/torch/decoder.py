"""A minimal decoder for the Llama family (Llama, Mistral, Qwen2, Qwen3): one forward pass over a ragged packed batch.

Linear layers run on the tokens of the batch without padding, attention runs per stream, and the head runs only on rows
that need logits. The result for a row does not depend on the rest of the batch, to the bit (docs/explain/engine.md).
"""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from goodspeed.engine.torch.attention import Attention, Heads
from goodspeed.engine.torch.batch import PackedBatch, Segment
from goodspeed.engine.torch.kv import KvPool
from goodspeed.engine.torch.linear import Linear
from goodspeed.engine.torch.rope import Rope, rotate
from goodspeed.models.model_config import ModelConfig

__all__ = ["Decoder", "Segment"]

Weights = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Norm:
    """Root-mean-square norm over the last dimension."""

    weight: torch.Tensor
    eps: float

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


@dataclass(frozen=True, slots=True)
class Layer:
    """The weights of one transformer block."""

    input_norm: Norm
    qkv: Linear
    query_norm: Norm | None
    key_norm: Norm | None
    out: Linear
    mlp_norm: Norm
    gate_up: Linear
    down: Linear


class Decoder:
    """The model. It has no state between calls: keys and values are in the caller's pool."""

    def __init__(self, weights: Weights, config: ModelConfig, dtype: torch.dtype, device: torch.device) -> None:
        """`weights`: by Hugging Face name, in any float dtype; models.checkpoint.tensor_shapes lists them."""
        self.config, self.dtype, self.device = config, dtype, device
        group = config.num_heads // config.num_kv_heads
        self.heads = Heads(config.num_kv_heads, group, config.head_dim, config.sliding_window)
        self._num_queries = config.num_heads * config.head_dim
        loader = _Loader(weights, config, dtype, device)
        self._embedding = loader.tensor("model.embed_tokens.weight")
        self._layers = [loader.layer(f"model.layers.{i}.") for i in range(config.num_layers)]
        self._norm = loader.norm("model.norm.weight")
        self._head = Linear(self._embedding if config.tie_word_embeddings else loader.tensor("lm_head.weight"))
        self._rope = Rope(config, config.max_context, dtype, device)

    def first_layers(self, num_layers: int) -> "Decoder":
        """The model without its later layers: the same operations on the same shapes, in less time."""
        decoder = copy(self)
        decoder._layers = self._layers[:num_layers]
        decoder.config = replace(self.config, num_layers=len(decoder._layers))
        return decoder

    @torch.inference_mode()
    def forward(self, segments: Sequence[Segment], pool: KvPool) -> torch.Tensor:
        """[sum of num_logits, vocab] in the decoder's dtype: the requested logits in the order of the segments.

        It overwrites the keys and values of every new token's position in the blocks of its stream.
        """
        batch = PackedBatch(segments, self.device)
        attention = Attention(self.heads, pool, segments)
        rotation = self._rope.at(batch.positions)
        x = self._embedding[batch.tokens]
        for i, layer in enumerate(self._layers):
            qkv = self._project(layer, x, rotation)
            pool.write(i, batch.slots, qkv[:, self._num_queries :])
            x = x + layer.out(attention(i, qkv))
            gate, up = layer.gate_up(layer.mlp_norm(x)).chunk(2, -1)
            x = x + layer.down(silu(gate) * up)
        if batch.num_logits == 0:
            return x.new_empty(0, self.config.vocab_size)
        return self._head(self._norm(batch.logit_rows(x)))[: batch.num_logits]

    def _project(self, layer: Layer, x: torch.Tensor, rotation: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """[tokens, (heads + 2 * kv_heads) * head_dim]: rotated queries and keys, then values."""
        num_kv_heads = self.heads.num_kv_heads
        qkv = layer.qkv(layer.input_norm(x))
        rotated = qkv.view(len(x), -1, self.heads.head_dim)[:, :-num_kv_heads]
        if layer.query_norm is not None and layer.key_norm is not None:
            queries, keys = rotated[:, :-num_kv_heads], rotated[:, -num_kv_heads:]
            queries.copy_(layer.query_norm(queries))
            keys.copy_(layer.key_norm(keys))
        rotate(rotated, *rotation)
        return qkv


def silu(x: torch.Tensor) -> torch.Tensor:
    """x * sigmoid(x).

    In float32, torch's silu rounds the last elements of a thread differently from those in whole vectors. So its result
    depends on the size of the batch, while that of exp does not.
    """
    return x / (-x).exp_().add_(1.0) if x.dtype is torch.float32 else F.silu(x)


class _Loader:
    """Builds fused and packed weights from tensors by Hugging Face name."""

    def __init__(self, weights: Weights, config: ModelConfig, dtype: torch.dtype, device: torch.device) -> None:
        self._weights, self._config, self._dtype, self._device = weights, config, dtype, device

    def tensor(self, name: str) -> torch.Tensor:
        return self._weights[name].to(self._device, self._dtype)

    def norm(self, name: str) -> Norm:
        return Norm(self.tensor(name), self._config.rms_norm_eps)

    def layer(self, prefix: str) -> Layer:
        config, attention, mlp = self._config, prefix + "self_attn.", prefix + "mlp."
        out_bias = self.tensor(attention + "o_proj.bias") if config.output_bias else None
        gate_up = torch.cat([self.tensor(mlp + f"{name}_proj.weight") for name in ("gate", "up")])
        return Layer(
            input_norm=self.norm(prefix + "input_layernorm.weight"),
            qkv=Linear(self._qkv(attention, "weight"), self._qkv(attention, "bias") if config.attention_bias else None),
            query_norm=self.norm(attention + "q_norm.weight") if config.qk_norm else None,
            key_norm=self.norm(attention + "k_norm.weight") if config.qk_norm else None,
            out=Linear(self.tensor(attention + "o_proj.weight"), out_bias),
            mlp_norm=self.norm(prefix + "post_attention_layernorm.weight"),
            gate_up=Linear(gate_up),
            down=Linear(self.tensor(mlp + "down_proj.weight")),
        )

    def _qkv(self, attention: str, kind: str) -> torch.Tensor:
        return torch.cat([self.tensor(f"{attention}{name}_proj.{kind}") for name in ("q", "k", "v")])

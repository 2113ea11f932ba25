"""Reads GGUF files (the format of llama.cpp): their metadata; of the Llama architecture also the shape and weights."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

from goodspeed.errors import CheckpointError
from goodspeed.models.model_config import LinearScaling, ModelConfig, RopeScaling

LAYER_NAMES = {
    "attn_norm.weight": "input_layernorm.weight",
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
}
MODEL_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}


class GgufFile:
    """An open GGUF file."""

    def __init__(self, path: Path) -> None:
        """Raises CheckpointError if the file is missing, truncated or not a GGUF file."""
        self.path = path
        try:
            self._reader = gguf.GGUFReader(path)
        except OSError as error:
            raise CheckpointError(f"cannot read {path}: {error}") from error
        except (ValueError, IndexError, KeyError, OverflowError) as error:
            raise CheckpointError(f"cannot read {path} as GGUF, it is damaged or truncated: {error}") from error
        self.architecture = self.text("general.architecture")

    @property
    def max_context(self) -> int:
        """The longest text that the model was trained on, in tokens."""
        return self.integer(f"{self.architecture}.context_length")

    @property
    def num_tensors(self) -> int:
        return len(self._reader.tensors)

    def config(self) -> ModelConfig:
        """The shape of the model. Raises CheckpointError if it is incomplete or has an unsupported feature."""
        if self.architecture != "llama":
            raise CheckpointError(f"{self.path}: architecture is {self.architecture!r}, supported is 'llama'")
        names = {tensor.name: tensor for tensor in self._reader.tensors}
        if "token_embd.weight" not in names:
            raise CheckpointError(f"{self.path} lacks token_embd.weight")
        num_heads = self.integer("llama.attention.head_count")
        hidden_size = self.integer("llama.embedding_length")
        head_dim = self.integer("llama.attention.key_length", hidden_size // max(1, num_heads))
        if (rotated := self.integer("llama.rope.dimension_count", head_dim)) != head_dim:
            raise CheckpointError(f"{self.path}: {rotated} of {head_dim} head dimensions rotate, supported is all")
        return ModelConfig(
            model_type="llama",
            hidden_size=hidden_size,
            num_layers=self.integer("llama.block_count"),
            num_heads=num_heads,
            num_kv_heads=self.integer("llama.attention.head_count_kv", num_heads),
            head_dim=head_dim,
            intermediate_size=self.integer("llama.feed_forward_length"),
            vocab_size=int(names["token_embd.weight"].shape[1]),
            max_context=self.max_context,
            # GGUF stores float32, so 1e-5 is read as 9.999999747378752e-06.
            rms_norm_eps=float(f"{self.number('llama.attention.layer_norm_rms_epsilon', 1e-5):.6g}"),
            rope_theta=self.number("llama.rope.freq_base", 10_000.0),
            rope_scaling=self._scaling(),
            tie_word_embeddings="output.weight" not in names,
            end_tokens=self.end_tokens(),
        )

    def kv_bytes_per_token(self, key_type: str, value_type: str) -> int:
        """Bytes of the keys and values of one token in all layers, in these types of llama.cpp ("f16", "q8_0")."""
        num_layers, num_heads = self._count("block_count"), self._per_layer("attention.head_count")
        num_kv_heads = self._per_layer("attention.head_count_kv", num_heads)
        head_dim = self._count("embedding_length") // max(1, *num_heads)
        per_head = sum(
            self._count(f"attention.{name}_length", head_dim) * _bytes_per_value(kind)
            for name, kind in (("key", key_type), ("value", value_type))
        )
        heads = [num_kv_heads[min(layer, len(num_kv_heads) - 1)] for layer in range(num_layers)]
        return max(1, round(sum(heads) * per_head))

    def end_tokens(self) -> tuple[int, ...]:
        """Tokens that end an answer."""
        keys = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id")
        return tuple(dict.fromkeys(self.integer(key) for key in keys if self.field(key) is not None))

    def tensors(self, config: ModelConfig) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
        """Every tensor with its Hugging Face name, one at a time. Raises CheckpointError for an unknown tensor."""
        for tensor in self._reader.tensors:
            name = _hugging_face_name(tensor.name)
            if name is None:
                raise CheckpointError(f"{self.path} has {tensor.name}, which is not supported")
            try:
                weight = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            except NotImplementedError as error:
                raise CheckpointError(f"{self.path}: {tensor.name} is {tensor.tensor_type.name}: {error}") from error
            yield name, _hugging_face_rows(name, np.array(weight, dtype=np.float32), config)

    def field(self, key: str) -> Any:
        """The value of a key, or None."""
        field = self._reader.get_field(key)
        return None if field is None else field.contents()

    def text(self, key: str, default: str | None = None) -> str:
        """A string value. Raises CheckpointError for another type, or if there is neither value nor default."""
        value = self.field(key)
        value = default if value is None else value
        if not isinstance(value, str):
            raise CheckpointError(f"{self.path}: {key} is {value!r}, expected a string")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """A boolean value. Raises CheckpointError for another type."""
        value = self.field(key)
        value = default if value is None else value
        if not isinstance(value, bool):
            raise CheckpointError(f"{self.path}: {key} is {value!r}, expected a boolean")
        return value

    def integer(self, key: str, default: int | None = None) -> int:
        """An integer value. Raises CheckpointError for another type, or if there is neither value nor default."""
        value = self.field(key)
        value = default if value is None else value
        if not isinstance(value, int):
            raise CheckpointError(f"{self.path}: {key} is {value!r}, expected an integer")
        return value

    def number(self, key: str, default: float) -> float:
        """A number value. Raises CheckpointError for another type."""
        value = self.field(key)
        value = default if value is None else value
        if not isinstance(value, int | float):
            raise CheckpointError(f"{self.path}: {key} is {value!r}, expected a number")
        return float(value)

    def _count(self, key: str, default: int | None = None) -> int:
        return self.integer(f"{self.architecture}.{key}", default)

    def _per_layer(self, key: str, default: list[int] | None = None) -> list[int]:
        """A count that may differ between layers: one for all, or one for each."""
        value = self.field(f"{self.architecture}.{key}")
        if value is None and default is not None:
            return default
        return value if isinstance(value, list) else [self._count(key)]

    def _scaling(self) -> RopeScaling | None:
        kind = self.text("llama.rope.scaling.type", "none")
        if kind == "none":
            return None
        if kind == "linear":
            return LinearScaling(self.number("llama.rope.scaling.factor", 1.0))
        raise CheckpointError(f"{self.path}: rope scaling is {kind!r}, supported are none, linear")


def _bytes_per_value(kind: str) -> float:
    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind.upper()]]
    return float(size / block)


def _hugging_face_name(name: str) -> str | None:
    if name.startswith("blk."):
        _, layer, rest = name.split(".", 2)
        return f"model.layers.{layer}.{LAYER_NAMES[rest]}" if rest in LAYER_NAMES else None
    return MODEL_NAMES.get(name)


def _hugging_face_rows(
    name: str,
    weight: npt.NDArray[np.float32],  # [outputs, inputs]
    config: ModelConfig,
) -> npt.NDArray[np.float32]:
    """The weight with its rows in Hugging Face's order.

    llama.cpp rotates neighbouring dimensions of a head, (0, 1), (2, 3) and so on, while Hugging Face rotates
    (i, i + half). So the rows of the query and key projections are interleaved in GGUF.
    """
    if name.endswith("q_proj.weight"):
        num_heads = config.num_heads
    elif name.endswith("k_proj.weight"):
        num_heads = config.num_kv_heads
    else:
        return weight
    pairs = weight.reshape(num_heads, config.head_dim // 2, 2, -1)
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(weight.shape)

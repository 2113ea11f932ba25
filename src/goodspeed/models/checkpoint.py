"""The weights of a model: safetensors files in a folder, with Hugging Face names."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from goodspeed.errors import CheckpointError
from goodspeed.models.folder import SINGLE_FILE, JsonObject, read_json, unreadable, weight_files, write_json
from goodspeed.models.model_config import ModelConfig, config_json, read_config

log = logging.getLogger(__name__)

__all__ = ["ModelConfig", "read_config", "read_weights", "tensor_shapes", "write_checkpoint"]


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor of the model by Hugging Face name, in its stored float dtype, memory-mapped on the CPU.

    Names and shapes are exactly those of tensor_shapes(read_config(folder)); a tied lm_head.weight is omitted. Raises
    CheckpointError if a file is missing, truncated or of another model.
    """
    config = read_config(folder)
    if read_json(folder / "config.json").get("tie_word_embeddings") and not config.tie_word_embeddings:
        log.warning("%s: config.json ties head and embedding, but the weights have another head; it is used", folder)
    shapes = tensor_shapes(config)
    weights: dict[str, torch.Tensor] = {}
    for path in weight_files(folder):
        weights.update(_read_file(path, shapes))
    missing = [name for name in shapes if name not in weights]
    if missing:
        raise CheckpointError(f"{folder} lacks {missing[0]} ({len(missing)} of {len(shapes)} tensors are missing)")
    return weights


def write_checkpoint(
    folder: Path, config: ModelConfig, weights: Mapping[str, torch.Tensor], generation: JsonObject | None = None
) -> None:
    """Write config.json, generation_config.json and model.safetensors; transformers can load them.

    `weights` has the names and shapes of tensor_shapes(config). `generation` has the keys of generation_config.json
    other than the end tokens. The folder is created if necessary.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    assert shapes == tensor_shapes(config)
    folder.mkdir(parents=True, exist_ok=True)
    dtype = str(next(iter(weights.values())).dtype).removeprefix("torch.")
    write_json(folder / "config.json", {**config_json(config), "torch_dtype": dtype})
    ends = {"eos_token_id": list(config.end_tokens) or None}
    write_json(folder / "generation_config.json", {**ends, **(generation or {})})
    tensors = {name: tensor.detach().contiguous() for name, tensor in weights.items()}
    save_file(tensors, folder / SINGLE_FILE, metadata={"format": "pt"})


def tensor_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a model with this config; linear weights are [outputs, inputs]."""
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config.vocab_size, config.hidden_size)}
    for layer in range(config.num_layers):
        for name, shape in _layer_shapes(config).items():
            shapes[f"model.layers.{layer}.{name}"] = shape
    shapes["model.norm.weight"] = (config.hidden_size,)
    if not config.tie_word_embeddings:
        shapes["lm_head.weight"] = (config.vocab_size, config.hidden_size)
    return shapes


def _layer_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    hidden, inner = config.hidden_size, config.intermediate_size
    queries, keys = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    shapes: dict[str, tuple[int, ...]] = {
        "input_layernorm.weight": (hidden,),
        "self_attn.q_proj.weight": (queries, hidden),
        "self_attn.k_proj.weight": (keys, hidden),
        "self_attn.v_proj.weight": (keys, hidden),
        "self_attn.o_proj.weight": (hidden, queries),
        "post_attention_layernorm.weight": (hidden,),
        "mlp.gate_proj.weight": (inner, hidden),
        "mlp.up_proj.weight": (inner, hidden),
        "mlp.down_proj.weight": (hidden, inner),
    }
    if config.attention_bias:
        biases = {"q_proj": queries, "k_proj": keys, "v_proj": keys}
        shapes |= {f"self_attn.{name}.bias": (size,) for name, size in biases.items()}
    if config.output_bias:
        shapes["self_attn.o_proj.bias"] = (hidden,)
    if config.qk_norm:
        shapes |= {"self_attn.q_norm.weight": (config.head_dim,), "self_attn.k_norm.weight": (config.head_dim,)}
    return shapes


def _read_file(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, torch.Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            for name in file.offset_keys():
                if not _is_ignored(name, shapes):
                    yield name, _checked(path, name, file.get_tensor(name), shapes)
    except (OSError, SafetensorError) as error:
        raise unreadable(path, error) from error


def _is_ignored(name: str, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Rotary frequencies in old checkpoints, and the head of a checkpoint with tied embeddings."""
    return name.endswith("rotary_emb.inv_freq") or (name == "lm_head.weight" and name not in shapes)


def _checked(path: Path, name: str, tensor: torch.Tensor, shapes: Mapping[str, tuple[int, ...]]) -> torch.Tensor:
    expected = shapes.get(name)
    if expected is None:
        raise CheckpointError(f"{path} has {name}, which the model in config.json does not have")
    if tuple(tensor.shape) != expected:
        raise CheckpointError(
            f"{path}: {name} has shape {list(tensor.shape)}, expected {list(expected)} from config.json"
        )
    if not tensor.dtype.is_floating_point:
        raise CheckpointError(f"{path}: {name} is {tensor.dtype}, expected a float type")
    return tensor

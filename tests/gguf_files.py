"""Small GGUF files with random weights (the same each time), as llama.cpp reads them; no PyTorch is needed."""

from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np

from goodspeed.models.detokenizer import BYTE_BY_CHARACTER

VOCAB_SIZE = 320
HIDDEN, INNER, NUM_LAYERS, NUM_HEADS, NUM_KV_HEADS, HEAD_DIM = 64, 96, 2, 4, 2, 16
CHAT_TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)


def write_gguf(
    path: Path, architecture: str = "llama", kind: str = "F16", seed: int = 0, vocab_size: int = VOCAB_SIZE
) -> Path:
    """A model of `architecture` (llama, qwen3, gemma3, mamba) with matrices of the type `kind`.

    The tokenizer is byte-level; token 0 is <|end|>, which ends answers, token 1 <|start|>.
    """
    writer = gguf.GGUFWriter(path, architecture)
    _write_sizes(writer, architecture)
    _write_tokenizer(writer, vocab_size)
    rng = np.random.default_rng(seed)
    for name, shape in _shapes(architecture, vocab_size).items():
        weight = rng.standard_normal(shape, dtype=np.float32) * np.float32(0.2)
        if len(shape) == 1:
            writer.add_tensor(name, 1 + 0.5 * weight)
        elif name.startswith("blk.0.ssm_a") or "conv1d" in name:
            writer.add_tensor(name, -np.abs(weight))
        else:
            _add_matrix(writer, name, weight, gguf.GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_matrix(writer: gguf.GGUFWriter, name: str, weight: np.ndarray, kind: gguf.GGMLQuantizationType) -> None:
    if kind is gguf.GGMLQuantizationType.F32:
        writer.add_tensor(name, weight)
    else:
        writer.add_tensor(name, gguf.quants.quantize(weight, kind), raw_dtype=kind)


def _write_sizes(writer: gguf.GGUFWriter, architecture: str) -> None:
    writer.add_block_count(NUM_LAYERS)
    writer.add_context_length(256)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(NUM_HEADS)
    writer.add_head_count_kv(NUM_KV_HEADS)
    writer.add_key_length(HEAD_DIM)
    writer.add_value_length(HEAD_DIM)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_count(HEAD_DIM)
    if architecture == "gemma3":
        writer.add_sliding_window(32)
    if architecture == "mamba":
        writer.add_ssm_conv_kernel(4)
        writer.add_ssm_inner_size(2 * HIDDEN)
        writer.add_ssm_state_size(16)
        writer.add_ssm_time_step_rank(4)


def _write_tokenizer(writer: gguf.GGUFWriter, vocab_size: int) -> None:
    names = ["<|end|>", "<|start|>", *BYTE_BY_CHARACTER, "th"]
    names += [f"<|unused{number}|>" for number in range(vocab_size - len(names))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(names)
    writer.add_token_types([3, 3, *[1] * 257, *[3] * (vocab_size - 259)])
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def _shapes(architecture: str, vocab_size: int) -> Mapping[str, tuple[int, ...]]:
    """Name and shape [outputs, inputs] of every tensor."""
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (vocab_size, HIDDEN), "output_norm.weight": (HIDDEN,)}
    layer = _mamba_layer() if architecture == "mamba" else _attention_layer(architecture)
    for number in range(NUM_LAYERS):
        shapes |= {f"blk.{number}.{name}": shape for name, shape in layer.items()}
    return shapes


def _attention_layer(architecture: str) -> Mapping[str, tuple[int, ...]]:
    queries, keys = NUM_HEADS * HEAD_DIM, NUM_KV_HEADS * HEAD_DIM
    shapes: dict[str, tuple[int, ...]] = {
        "attn_norm.weight": (HIDDEN,),
        "attn_q.weight": (queries, HIDDEN),
        "attn_k.weight": (keys, HIDDEN),
        "attn_v.weight": (keys, HIDDEN),
        "attn_output.weight": (HIDDEN, queries),
        "ffn_norm.weight": (HIDDEN,),
        "ffn_gate.weight": (INNER, HIDDEN),
        "ffn_up.weight": (INNER, HIDDEN),
        "ffn_down.weight": (HIDDEN, INNER),
    }
    if architecture in {"qwen3", "gemma3"}:
        shapes |= {"attn_q_norm.weight": (HEAD_DIM,), "attn_k_norm.weight": (HEAD_DIM,)}
    if architecture == "gemma3":
        shapes |= {"post_attention_norm.weight": (HIDDEN,), "post_ffw_norm.weight": (HIDDEN,)}
    return shapes


def _mamba_layer() -> Mapping[str, tuple[int, ...]]:
    inner = 2 * HIDDEN
    return {
        "attn_norm.weight": (HIDDEN,),
        "ssm_in.weight": (2 * inner, HIDDEN),
        "ssm_conv1d.weight": (inner, 4),
        "ssm_conv1d.bias": (inner,),
        "ssm_x.weight": (4 + 2 * 16, inner),
        "ssm_dt.weight": (inner, 4),
        "ssm_dt.bias": (inner,),
        "ssm_a": (inner, 16),
        "ssm_d": (inner,),
        "ssm_out.weight": (HIDDEN, inner),
    }

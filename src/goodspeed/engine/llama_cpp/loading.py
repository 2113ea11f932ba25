"""Loads a llama.cpp target engine from the name of its model."""

import logging
import os
from pathlib import Path

import psutil

from goodspeed.engine.grammar.compiler import GrammarCompiler
from goodspeed.engine.interface import TargetInfo
from goodspeed.engine.llama_config import LlamaConfig
from goodspeed.engine.llama_cpp.cells import MAX_STREAMS, Cells
from goodspeed.engine.llama_cpp.context import ContextSize, LlamaContext
from goodspeed.engine.llama_cpp.forward import Forward
from goodspeed.engine.llama_cpp.invariance import (
    is_batch_invariant,
    numerics_fingerprint,
    thread_counts_with_same_bits,
)
from goodspeed.engine.llama_cpp.library import load_library
from goodspeed.engine.llama_cpp.model import LlamaModel, load_model
from goodspeed.engine.llama_cpp.target import LlamaTarget
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.thread_choice import ThreadChoice, thread_counts
from goodspeed.errors import ConfigError
from goodspeed.models.catalog import locate_gguf, locate_tokenizer
from goodspeed.models.gguf import GgufFile
from goodspeed.models.tokenizer import Tokenizer

log = logging.getLogger(__name__)

MAX_CPU_ROWS = 63  # from 64 rows on, attention on a CPU rounds otherwise
MAX_GPU_ROWS = 512
SPARE = 8
"""One cell in eight is spare: cells of rejected tokens and ended streams, until the sequences are written again."""
MB = 2**20


def load_target(config: TargetConfig) -> LlamaTarget:
    """Read the model and check its batch invariance.

    Raises CheckpointError if there is no such GGUF file or llama.cpp cannot run it, ConfigError if llama.cpp is not
    installed or the machine cannot run the model as configured.
    """
    load_library()
    check_config(config)
    path = locate_gguf(config.model)
    file, tokenizer = GgufFile(path), Tokenizer.load(locate_tokenizer(config.model))
    num_cells = (
        config.kv_memory_mb * MB // file.kv_bytes_per_token(config.llama.cache_type_k, config.llama.cache_type_v)
    )
    n_gpu_layers = gpu_layers(config.device, config.llama)
    if n_gpu_layers == 0 or not load_library().llama_supports_gpu_offload():
        check_memory(path, config.kv_memory_mb)
    model = load_model(path, n_gpu_layers)
    forward = make_forward(model, config.llama, num_cells, threads=config.threads, min_rows=2)
    max_context = min(config.max_context or model.max_context, model.max_context, usable_cells(num_cells))
    may_choose = not (config.threads or config.llama.threads_batch or model.has_gpu)
    return _make_target(forward, config.model, tokenizer, max_context, may_choose_threads=may_choose)


def check_config(config: TargetConfig) -> None:
    """Raises ConfigError for options of the other engines that llama.cpp cannot follow."""
    if config.dtype != "auto":
        raise ConfigError(f"dtype is {config.dtype!r}, expected 'auto': a GGUF file has the types of its weights")


def gpu_layers(device: str, config: LlamaConfig) -> int:
    """n_gpu_layers for the device of the config. Raises ConfigError if it is a GPU that llama.cpp cannot use."""
    if device == "cuda" and not load_library().llama_supports_gpu_offload():
        raise ConfigError("device is 'cuda', but this build of llama.cpp supports no GPU")
    return 0 if device == "cpu" else config.n_gpu_layers


def check_memory(path: Path, kv_memory_mb: int) -> None:
    """Raises ConfigError if the weights and the KV cache do not fit into the free memory of this machine."""
    weights_mb, free_mb = path.stat().st_size // MB, psutil.virtual_memory().available // MB
    if weights_mb + kv_memory_mb > free_mb:
        raise ConfigError(
            f"{path.name} needs {weights_mb + kv_memory_mb:,} MB (weights {weights_mb:,}, KV cache {kv_memory_mb:,}), "
            f"{free_mb:,} MB are free; choose a smaller model or a smaller kv_memory_mb"
        )


def make_forward(model: LlamaModel, config: LlamaConfig, num_cells: int, *, threads: int, min_rows: int) -> Forward:
    """A forward pass with a KV cache of this many tokens. Raises ConfigError."""
    threads = threads or num_usable_cores()
    max_rows = config.n_ubatch or (MAX_GPU_ROWS if model.has_gpu else MAX_CPU_ROWS)
    size = ContextSize(num_cells, max(max_rows, min_rows), threads, config.threads_batch or threads)
    return Forward(Cells(LlamaContext(model, config, size)), min_rows)


def usable_cells(num_cells: int) -> int:
    """KV tokens that may be reserved of so many cells."""
    return num_cells - num_cells // SPARE - 1


def num_usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _make_target(
    forward: Forward, name: str, tokenizer: Tokenizer, max_context: int, *, may_choose_threads: bool
) -> LlamaTarget:
    context = forward.cells.context
    kv_capacity = usable_cells(context.size.num_cells)
    info = TargetInfo(
        model=name,
        model_fingerprint=numerics_fingerprint(forward),
        tokenizer_fingerprint=tokenizer.fingerprint,
        vocab_size=context.model.vocab_size,
        max_context=max_context,
        kv_capacity=kv_capacity,
        end_tokens=context.model.end_tokens,
        max_streams=MAX_STREAMS,
        tokenizer_size=tokenizer.vocab_size,
    )
    is_invariant = is_batch_invariant(forward)
    log.info("%s (%s) by llama.cpp: KV cache of %d tokens", name, context.model.description, kv_capacity)
    if not is_invariant:
        log.warning("%s: logits depend on the batch on this machine, so a text may differ from the baseline", name)
    grammars = GrammarCompiler(tokenizer.to_json(), info.vocab_size, info.end_tokens)
    counts = thread_counts(context.size.threads) if may_choose_threads and is_invariant else []
    threads = ThreadChoice(thread_counts_with_same_bits(forward, counts)) if len(counts) > 1 else None
    return LlamaTarget(forward, info, is_invariant, grammars, threads)

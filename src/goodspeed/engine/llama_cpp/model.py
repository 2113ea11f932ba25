"""A loaded GGUF model: its weights, and the sizes that an engine needs."""

import ctypes
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from goodspeed.engine.llama_cpp.library import first_error, load_library
from goodspeed.errors import CheckpointError


@dataclass(frozen=True, slots=True, weakref_slot=True)
class LlamaModel:
    """A model in memory, which is freed when no context refers to it any more."""

    library: Any
    pointer: Any
    path: Path
    vocab_size: int
    max_context: int
    has_gpu: bool
    """Whether layers are on a GPU."""

    @property
    def description(self) -> str:
        """Architecture, size and quantisation in llama.cpp's words, such as "llama 135M Q4_1"."""
        text = ctypes.create_string_buffer(256)
        self.library.llama_model_desc(self.pointer, text, len(text))
        return text.value.decode(errors="replace")

    @property
    def end_tokens(self) -> tuple[int, ...]:
        """Tokens that end an answer: those that the file names, and those that llama.cpp knows by their text."""
        vocab = self.library.llama_model_get_vocab(self.pointer)
        return tuple(token for token in range(self.vocab_size) if self.library.llama_vocab_is_eog(vocab, token))


def load_model(path: Path, n_gpu_layers: int) -> LlamaModel:
    """Load a GGUF file. `n_gpu_layers`: layers on the GPU, -1 for all.

    Raises ConfigError if llama.cpp is not installed, CheckpointError if it cannot read the file or if streams of the
    model cannot be rolled back.
    """
    library = load_library()
    params = library.llama_model_default_params()
    params.n_gpu_layers = n_gpu_layers
    first_error()
    pointer = library.llama_model_load_from_file(str(path).encode(), params)
    if not pointer:
        raise CheckpointError(f"llama.cpp cannot read {path}: {first_error() or 'no reason given'}")
    model = LlamaModel(
        library,
        pointer,
        path,
        library.llama_vocab_n_tokens(library.llama_model_get_vocab(pointer)),
        library.llama_model_n_ctx_train(pointer),
        n_gpu_layers != 0 and library.llama_supports_gpu_offload(),
    )
    weakref.finalize(model, library.llama_model_free, pointer)
    if kind := _unsupported_kind(library, pointer):
        raise CheckpointError(f"{path} is {kind}, expected a causal model with attention only")
    return model


def _unsupported_kind(library: Any, pointer: Any) -> str:
    """Why the engine cannot run the model; empty if it can.

    A recurrent state holds all tokens so far, so tokens of a rejected draft cannot be taken back out of it.
    """
    if library.llama_model_is_recurrent(pointer) or library.llama_model_is_hybrid(pointer):
        return "a recurrent or hybrid model (such as Mamba), whose state cannot be rolled back to before a draft"
    if library.llama_model_has_encoder(pointer):
        return "a model with an encoder"
    if library.llama_model_is_diffusion(pointer):
        return "a diffusion model"
    return ""

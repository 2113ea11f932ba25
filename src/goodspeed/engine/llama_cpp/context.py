"""A llama.cpp context: the KV cache of all sequences, and the forward pass over one small batch."""

import ctypes
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from goodspeed.engine.llama_config import LlamaConfig
from goodspeed.engine.llama_cpp.library import first_error
from goodspeed.engine.llama_cpp.model import LlamaModel
from goodspeed.errors import CapacityError, ConfigError

MAX_SEQUENCES = 256  # llama.cpp's LLAMA_MAX_SEQ
FLASH_ATTENTION = {"auto": -1, "off": 0, "on": 1}


@dataclass(frozen=True, slots=True)
class ContextSize:
    """What a context is made for."""

    num_cells: int
    """Tokens in the KV cache, over all sequences."""
    max_rows: int
    """Tokens of one forward pass."""
    threads: int
    threads_batch: int


class LlamaContext:
    """One llama_context with a unified KV cache. All calls come from one thread."""

    def __init__(self, model: LlamaModel, config: LlamaConfig, size: ContextSize) -> None:
        """Raises ConfigError if llama.cpp cannot make the context, for example for lack of memory."""
        self.model = model
        self.size = size
        self._library = model.library
        self._pointer = self._make(config, size)
        self._free = weakref.finalize(self, self._library.llama_free, self._pointer)
        self._memory = self._library.llama_get_memory(self._pointer)
        self._arrays = _BatchArrays(self._library, size.max_rows)

    def decode(
        self,
        tokens: Sequence[int],  # n, at most size.max_rows
        positions: Sequence[int],  # n
        sequences: Sequence[int],  # n
        outputs: Sequence[bool],  # n: whose logits are needed
    ) -> npt.NDArray[np.float32]:
        """[number of outputs, vocab]: the logits, in order; valid until the next call. Raises CapacityError."""
        batch = self._arrays.fill(tokens, positions, sequences, outputs)
        first_error()
        result = self._library.llama_decode(self._pointer, batch)
        if result == 1:
            raise CapacityError(f"no room in the KV cache of {self.size.num_cells} tokens for {len(tokens)} more")
        if result != 0:
            raise RuntimeError(f"llama_decode returned {result}: {first_error()}")
        shape = (sum(outputs), self.model.vocab_size)
        if shape[0] == 0:
            return np.empty(shape, dtype=np.float32)
        return np.ctypeslib.as_array(self._library.llama_get_logits(self._pointer), shape)

    def set_threads(self, threads: int) -> None:
        """Compute the following passes with so many threads."""
        self._library.llama_set_n_threads(self._pointer, threads, threads)

    def remove(self, sequence: int, start: int, end: int = -1) -> None:
        """Take the tokens at positions start .. end - 1 out of the sequence; without `end` all from `start` on."""
        is_removed = self._library.llama_memory_seq_rm(self._memory, sequence, start, end)
        assert is_removed, f"llama.cpp cannot roll sequence {sequence} back to {start}"

    def share(self, source: int, target: int, start: int, end: int) -> None:
        """Add the tokens at positions start .. end - 1 of `source` to `target`, without a copy."""
        self._library.llama_memory_seq_cp(self._memory, source, target, start, end)

    def clear(self) -> None:
        """Empty all sequences."""
        self._library.llama_memory_clear(self._memory, False)

    def save(self, sequence: int) -> npt.NDArray[np.uint8]:
        """The keys and values of a sequence."""
        state = np.empty(self._library.llama_state_seq_get_size(self._pointer, sequence), dtype=np.uint8)
        written = self._library.llama_state_seq_get_data(self._pointer, _bytes(state), state.size, sequence)
        return state[:written]

    def restore(self, sequence: int, state: npt.NDArray[np.uint8]) -> None:
        """Give a sequence the keys and values that save() has returned. Raises CapacityError."""
        first_error()
        if not self._library.llama_state_seq_set_data(self._pointer, _bytes(state), state.size, sequence):
            raise CapacityError(f"llama.cpp cannot restore a sequence: {first_error()}")

    def close(self) -> None:
        """Free the memory of the context at once; else it is freed when nothing refers to it any more."""
        self._free()

    def _make(self, config: LlamaConfig, size: ContextSize) -> Any:
        params = self._library.llama_context_default_params()
        params.n_ctx = size.num_cells
        params.n_batch = params.n_ubatch = size.max_rows
        params.n_seq_max = MAX_SEQUENCES
        params.n_outputs_max = params.n_outputs_max_per_seq = max(size.max_rows, MAX_SEQUENCES)
        params.n_threads, params.n_threads_batch = size.threads, size.threads_batch
        params.flash_attn_type = FLASH_ATTENTION[config.flash_attn]
        params.type_k = self._cache_type(config.cache_type_k)
        params.type_v = self._cache_type(config.cache_type_v)
        params.kv_unified = True
        params.swa_full = True  # a smaller window cache has lost the tokens that a rollback or a shared prefix needs
        params.no_perf = True
        first_error()
        pointer = self._library.llama_init_from_model(self.model.pointer, params)
        if not pointer:
            raise ConfigError(
                f"llama.cpp cannot make a KV cache of {size.num_cells} tokens for {self.model.path}: "
                f"{first_error() or 'no reason given'}"
            )
        return pointer

    def _cache_type(self, name: str) -> int:
        return int(getattr(self._library, f"GGML_TYPE_{name.upper()}"))


class _BatchArrays:
    """The arrays of a llama_batch with one sequence per token, in memory of their own."""

    def __init__(self, library: Any, max_rows: int) -> None:
        self._library = library
        self._tokens, self._positions, self._sequences = (np.zeros(max_rows, dtype=np.int32) for _ in range(3))
        self._outputs = np.zeros(max_rows, dtype=np.int8)
        self._counts = np.ones(max_rows, dtype=np.int32)
        pointer = ctypes.POINTER(library.llama_seq_id)
        first = self._sequences.ctypes.data
        self._pointers = (pointer * max_rows)(*(ctypes.cast(first + 4 * i, pointer) for i in range(max_rows)))

    def fill(
        self, tokens: Sequence[int], positions: Sequence[int], sequences: Sequence[int], outputs: Sequence[bool]
    ) -> Any:
        """The llama_batch; valid until the next call."""
        size = len(tokens)
        self._tokens[:size], self._positions[:size] = tokens, positions
        self._sequences[:size], self._outputs[:size] = sequences, outputs
        return self._library.llama_batch(
            n_tokens=size,
            token=self._tokens.ctypes.data_as(ctypes.POINTER(self._library.llama_token)),
            pos=self._positions.ctypes.data_as(ctypes.POINTER(self._library.llama_pos)),
            n_seq_id=self._counts.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            seq_id=self._pointers,
            logits=self._outputs.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )


def _bytes(array: npt.NDArray[np.uint8]) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))

"""Draft models by llama.cpp: a GGUF file with the target's tokenizer, on a device without PyTorch."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from goodspeed.decoding.draft import StreamKey
from goodspeed.engine.calibration import Calibration
from goodspeed.engine.draft_model import DraftModelRunner, StreamInput
from goodspeed.engine.drafts import DraftConfig
from goodspeed.engine.llama_cpp.forward import Forward, Segment
from goodspeed.engine.llama_cpp.library import load_library
from goodspeed.engine.llama_cpp.loading import (
    MB,
    check_memory,
    gpu_layers,
    make_forward,
    usable_cells,
)
from goodspeed.engine.llama_cpp.model import load_model
from goodspeed.engine.neural_draft import NeuralDraft
from goodspeed.engine.neural_source import NeuralSource
from goodspeed.errors import CapacityError, CheckpointError, ConfigError
from goodspeed.models.catalog import locate_gguf
from goodspeed.models.gguf import GgufFile


class LlamaDraftModel:
    """A DraftModel with one sequence per stream."""

    def __init__(self, forward: Forward) -> None:
        context = forward.cells.context
        self.vocab_size = context.model.vocab_size
        self.max_context = context.model.max_context
        self._forward = forward
        self._cells = forward.cells
        self._num_free = usable_cells(context.size.num_cells)
        self._sequences: dict[StreamKey, int] = {}
        self._capacities: dict[StreamKey, int] = {}

    def open(self, stream: StreamKey, capacity: int) -> None:
        if capacity > self._num_free:
            raise CapacityError(f"{capacity} KV tokens requested, {self._num_free} are free")
        self._sequences[stream] = self._cells.open()
        self._capacities[stream] = capacity
        self._num_free -= capacity

    def run(self, inputs: Sequence[StreamInput]) -> npt.NDArray[np.float32]:
        for new in reversed(inputs):
            self._cells.truncate(self._sequences[new.stream], new.num_cached)
        return np.concatenate(self._forward.run([self._segment(new) for new in inputs]))

    def close(self, stream: StreamKey) -> None:
        self._cells.close(self._sequences.pop(stream))
        self._num_free += self._capacities.pop(stream)

    def _segment(self, new: StreamInput) -> Segment:
        """The target may pad its vocabulary further than this model: such an id is read as token 0."""
        tokens = [token if token < self.vocab_size else 0 for token in new.tokens]
        return Segment(self._sequences[new.stream], new.num_cached, tokens, 1)


def llama_draft(config: DraftConfig, vocab_size: int) -> NeuralDraft:
    """A draft engine with config.model. Raises CheckpointError, or ConfigError if no model is given."""
    return NeuralDraft(_load(config, vocab_size), Calibration())


def llama_source(config: DraftConfig, vocab_size: int) -> NeuralSource:
    """config.model as a source of the hybrid engine. Raises the errors of llama_draft."""
    return NeuralSource(_load(config, vocab_size))


def _load(config: DraftConfig, vocab_size: int) -> DraftModelRunner:
    load_library()
    if not config.model:
        raise ConfigError("model is empty, expected a GGUF file that drafts")
    path = locate_gguf(config.model)
    bytes_per_token = GgufFile(path).kv_bytes_per_token(config.llama.cache_type_k, config.llama.cache_type_v)
    n_gpu_layers = gpu_layers(config.device, config.llama)
    check_memory(path, config.kv_memory_mb)
    model = load_model(path, n_gpu_layers)
    if model.vocab_size < vocab_size:
        raise CheckpointError(f"{config.model} has a vocabulary of {model.vocab_size}, the target has {vocab_size}")
    num_cells = config.kv_memory_mb * MB // bytes_per_token
    forward = make_forward(model, config.llama, num_cells, threads=config.threads, min_rows=1)
    return DraftModelRunner(LlamaDraftModel(forward), vocab_size)

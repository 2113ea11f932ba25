"""Draft models on the embedded decoder; any checkpoint with the target's tokenizer can be used."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from goodspeed.decoding.draft import StreamKey
from goodspeed.engine.block_table import BlockTable
from goodspeed.engine.calibration import Calibration
from goodspeed.engine.draft_model import DraftModelRunner, StreamInput
from goodspeed.engine.drafts import DraftConfig
from goodspeed.engine.neural_draft import NeuralDraft
from goodspeed.engine.neural_source import NeuralSource
from goodspeed.engine.torch.batch import Segment
from goodspeed.engine.torch.decoder import Decoder
from goodspeed.engine.torch.device import choose_device, choose_dtype
from goodspeed.engine.torch.kv import KvPool, kv_bytes_per_token
from goodspeed.errors import CheckpointError, ConfigError
from goodspeed.models.catalog import locate
from goodspeed.models.checkpoint import read_config, read_weights
from goodspeed.models.draft_vocab import read_draft_vocab
from goodspeed.models.model_config import ModelConfig

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


class TorchDraftModel:
    """A DraftModel with a Decoder and one KV pool for all streams."""

    def __init__(self, decoder: Decoder, vocab_size: int, kv_capacity: int) -> None:
        self.vocab_size = vocab_size
        self.max_context = decoder.config.max_context
        self._decoder = decoder
        self._pool = KvPool(decoder.config, kv_capacity, decoder.dtype, decoder.device)
        self._tables: dict[StreamKey, BlockTable] = {}

    def open(self, stream: StreamKey, capacity: int) -> None:
        self._tables[stream] = self._pool.reserve(capacity)

    @torch.inference_mode()
    def run(self, inputs: Sequence[StreamInput]) -> npt.NDArray[np.float32]:
        segments = [Segment(self._known(new.tokens), self._tables[new.stream], new.num_cached, 1) for new in inputs]
        logits = self._decoder.forward(segments, self._pool)
        rows: npt.NDArray[np.float32] = logits.float().cpu().numpy()
        return rows

    def close(self, stream: StreamKey) -> None:
        self._pool.free(self._tables.pop(stream))

    def _known(self, tokens: tuple[int, ...]) -> tuple[int, ...]:
        """The target may pad its vocabulary further than this model: such an id is read as token 0."""
        num_embeddings = self._decoder.config.vocab_size
        if max(tokens) < num_embeddings:
            return tokens
        return tuple(token if token < num_embeddings else 0 for token in tokens)


def torch_draft(config: DraftConfig, vocab_size: int) -> NeuralDraft:
    """A draft engine with config.model. Raises CheckpointError, or ConfigError if no model is given."""
    return NeuralDraft(_load(config, vocab_size), Calibration())


def torch_source(config: DraftConfig, vocab_size: int) -> NeuralSource:
    """config.model as a source of the hybrid engine. Raises the errors of torch_draft."""
    return NeuralSource(_load(config, vocab_size))


def make_model(
    weights: Mapping[str, torch.Tensor], shape: ModelConfig, vocab_size: int, config: DraftConfig
) -> TorchDraftModel:
    """A draft model whose head has `vocab_size` rows; device, dtype and memory are those of the config."""
    device = choose_device(config.device)
    dtype = choose_dtype(config.dtype, device)
    torch.set_num_threads(config.threads)
    kv_capacity = config.kv_memory_mb * 2**20 // kv_bytes_per_token(shape, dtype)
    return TorchDraftModel(Decoder(weights, shape, dtype, device), vocab_size, kv_capacity)


def _load(config: DraftConfig, vocab_size: int) -> DraftModelRunner:
    if not config.model:
        raise ConfigError("model is empty, expected a draft model: a catalog name, a Hugging Face id or a folder")
    folder = locate(config.model)
    shape = read_config(folder)
    if shape.vocab_size < vocab_size:
        raise CheckpointError(f"{config.model} has a vocabulary of {shape.vocab_size}, the target has {vocab_size}")
    weights, kept = read_weights(folder), read_draft_vocab(folder, shape.vocab_size)
    if kept is None:
        return DraftModelRunner(
            make_model(weights, shape, shape.vocab_size, config), vocab_size, num_kept=config.kept_caches
        )
    weights[HEAD] = weights.get(HEAD, weights[EMBEDDING])[torch.from_numpy(kept)]
    model = make_model(weights, replace(shape, tie_word_embeddings=False), len(kept), config)
    return DraftModelRunner(model, vocab_size, kept, config.kept_caches)

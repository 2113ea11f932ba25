"""From a model's name to a running target engine."""

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from goodspeed.engine.interface import TargetInfo
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.torch.decoder import Decoder
from goodspeed.engine.torch.invariance import is_batch_invariant, numerics_fingerprint
from goodspeed.engine.torch.kv import kv_bytes_per_token
from goodspeed.engine.torch.linear import has_native_bf16
from goodspeed.engine.torch.target import TorchTarget
from goodspeed.errors import ConfigError
from goodspeed.models.catalog import locate
from goodspeed.models.checkpoint import read_config, read_weights
from goodspeed.models.model_config import ModelConfig
from goodspeed.models.tokenizer import Tokenizer

LOG = logging.getLogger(__name__)
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def load_target(config: TargetConfig) -> TorchTarget:
    """Read the model, pack it for this machine, and check that its logits do not depend on the batch.

    Raises CheckpointError if there is no such model, ConfigError if the machine cannot run it as configured.
    """
    folder = locate(config.model)
    decoder = make_decoder(read_weights(folder), read_config(folder), config)
    return make_target(decoder, config, config.model, folder)


def make_decoder(weights: Mapping[str, torch.Tensor], shape: ModelConfig, config: TargetConfig) -> Decoder:
    """A decoder placed as the config says, on as many threads. Raises ConfigError."""
    device = choose_device(config.device)
    torch.set_num_threads(config.threads or os.cpu_count() or 1)
    shape = replace(shape, max_context=min(config.max_context or shape.max_context, shape.max_context))
    return Decoder(weights, shape, choose_dtype(config.dtype, device), device)


def make_target(decoder: Decoder, config: TargetConfig, name: str, tokenizer: Path) -> TorchTarget:
    """An engine of that name around a decoder; `tokenizer` is the folder with its tokenizer."""
    shape = decoder.config
    kv_capacity = config.kv_memory_mb * 2**20 // kv_bytes_per_token(shape, decoder.dtype)
    info = TargetInfo(
        model=name,
        model_fingerprint=numerics_fingerprint(decoder),
        tokenizer_fingerprint=Tokenizer.load(tokenizer).fingerprint,
        vocab_size=shape.vocab_size,
        max_context=min(shape.max_context, kv_capacity),
        kv_capacity=kv_capacity,
        end_tokens=shape.end_tokens,
    )
    is_invariant = is_batch_invariant(decoder)
    LOG.info("%s in %s on %s: room for %d KV tokens", name, decoder.dtype, decoder.device, kv_capacity)
    if not is_invariant:
        LOG.warning("%s: logits depend on the batch on this machine, so texts may now and then differ", name)
    return TorchTarget(decoder, info, is_invariant)


def choose_device(name: str) -> torch.device:
    """Raises ConfigError if cuda is asked for and there is none."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device is 'cuda', but torch finds no CUDA device here")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """bf16 where it is fast, if the name is "auto"."""
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" or has_native_bf16() else torch.float32
    return DTYPES[name]

"""Loads a target engine from the name of its model."""

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from goodspeed.engine.grammar.compiler import GrammarCompiler
from goodspeed.engine.interface import TargetInfo
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.thread_choice import ThreadChoice, thread_counts
from goodspeed.engine.torch.decoder import Decoder
from goodspeed.engine.torch.device import choose_device, choose_dtype
from goodspeed.engine.torch.invariance import (
    is_batch_invariant,
    numerics_fingerprint,
    thread_counts_with_same_bits,
)
from goodspeed.engine.torch.kv import BLOCK, kv_bytes_per_token
from goodspeed.engine.torch.target import TorchTarget
from goodspeed.models.catalog import locate
from goodspeed.models.checkpoint import read_config, read_weights
from goodspeed.models.model_config import ModelConfig
from goodspeed.models.tokenizer import Tokenizer

LOG = logging.getLogger(__name__)


def load_target(config: TargetConfig) -> TorchTarget:
    """Read the model, pack it for this machine, and check its batch invariance.

    Raises CheckpointError if there is no such model, ConfigError if the machine cannot run it as configured.
    """
    folder = locate(config.model)
    decoder = make_decoder(read_weights(folder), read_config(folder), config)
    return make_target(decoder, config, config.model, folder)


def make_decoder(weights: Mapping[str, torch.Tensor], shape: ModelConfig, config: TargetConfig) -> Decoder:
    """A decoder with the config's device, dtype, threads and context limit. Raises ConfigError."""
    device = choose_device(config.device)
    torch.set_num_threads(config.threads or os.cpu_count() or 1)
    shape = replace(shape, max_context=min(config.max_context or shape.max_context, shape.max_context))
    return Decoder(weights, shape, choose_dtype(config.dtype, device), device)


def make_target(decoder: Decoder, config: TargetConfig, name: str, tokenizer: Path) -> TorchTarget:
    """A target engine of that name with the decoder; `tokenizer` is the folder of its tokenizer."""
    shape = decoder.config
    kv_capacity = config.kv_memory_mb * 2**20 // kv_bytes_per_token(shape, decoder.dtype) // BLOCK * BLOCK
    loaded = Tokenizer.load(tokenizer)
    info = TargetInfo(
        model=name,
        model_fingerprint=numerics_fingerprint(decoder),
        tokenizer_fingerprint=loaded.fingerprint,
        vocab_size=shape.vocab_size,
        max_context=min(shape.max_context, kv_capacity),
        kv_capacity=kv_capacity,
        kv_block=BLOCK,
        end_tokens=shape.end_tokens,
        tokenizer_size=loaded.vocab_size,
    )
    grammars = GrammarCompiler(loaded.to_json(), info.vocab_size, info.end_tokens)
    is_invariant = is_batch_invariant(decoder)
    LOG.info("%s in %s on %s: KV cache of %d tokens", name, decoder.dtype, decoder.device, kv_capacity)
    if not is_invariant:
        LOG.warning("%s: logits depend on the batch on this machine, so a text may differ from the baseline", name)
    return TorchTarget(decoder, info, is_invariant, grammars, None if config.threads else _thread_choice(decoder))


def _thread_choice(decoder: Decoder) -> ThreadChoice | None:
    """The numbers of threads that give the same bits; None where the CPU does not compute, or has one core."""
    counts = thread_counts(torch.get_num_threads())
    if decoder.device.type != "cpu" or len(counts) == 1:
        return None
    return ThreadChoice(thread_counts_with_same_bits(decoder, counts))

"""The engines of a shaped pair, each made in its own process from (shape, seed) only."""

from goodspeed.engine.calibration import Calibration
from goodspeed.engine.draft_model import DraftModelRunner
from goodspeed.engine.drafts import DraftConfig
from goodspeed.engine.neural_draft import NeuralDraft
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.torch.draft import make_model
from goodspeed.engine.torch.loading import make_decoder, make_target
from goodspeed.engine.torch.shaped import (
    LIVE,
    DialledModel,
    TargetWeights,
    draft_config,
    draft_weights,
    target_config,
)
from goodspeed.engine.torch.target import TorchTarget
from goodspeed.errors import ConfigError
from goodspeed.models.catalog import locate, locate_tokenizer
from goodspeed.models.checkpoint import read_config
from goodspeed.models.model_config import Llama3Scaling, ModelConfig

DEFAULT_SHAPE = "smollm2-135m-instruct"
SHAPES = {
    "llama-3.1-8b": ModelConfig(
        model_type="llama",
        hidden_size=4096,
        num_layers=32,
        num_heads=32,
        num_kv_heads=8,
        head_dim=128,
        intermediate_size=14_336,
        vocab_size=128_256,
        max_context=131_072,
        rms_norm_eps=1e-5,
        rope_theta=500_000.0,
        rope_scaling=Llama3Scaling(8.0, 1.0, 4.0, 8192),
    ),
    "qwen3-0.6b": ModelConfig(
        model_type="qwen3",
        hidden_size=1024,
        num_layers=28,
        num_heads=16,
        num_kv_heads=8,
        head_dim=128,
        intermediate_size=3072,
        vocab_size=151_936,
        max_context=40_960,
        rms_norm_eps=1e-6,
        rope_theta=1_000_000.0,
        tie_word_embeddings=True,
        qk_norm=True,
    ),
}
"""Shapes that need no checkpoint."""


def shaped_target(config: TargetConfig, seed: int) -> TorchTarget:
    """A target with random weights and the shape of config.model: one of SHAPES, or any model on this machine.

    Its answers consist of LIVE token ids and have no end token. A shape of SHAPES uses the tokenizer of DEFAULT_SHAPE.
    Raises CheckpointError.
    """
    shape = _shape(config.model)
    decoder = make_decoder(TargetWeights(shape, seed), target_config(shape), config)
    tokenizer = locate_tokenizer(DEFAULT_SHAPE if config.model in SHAPES else config.model)
    return make_target(decoder, config, f"shaped-{config.model}", tokenizer)


def shaped_draft(config: DraftConfig, vocab_size: int) -> NeuralDraft:
    """The draft for the shaped target of the same shape (config.model, or DEFAULT_SHAPE) and seed.

    Raises CheckpointError, or ConfigError if the vocabulary of the target is too small.
    """
    shape = _shape(config.model or DEFAULT_SHAPE)
    if vocab_size < LIVE.stop:
        raise ConfigError(f"a shaped draft needs a vocabulary of {LIVE.stop} or more, the target's has {vocab_size}")
    model = make_model(draft_weights(shape, config.seed), draft_config(shape), LIVE.stop, config)
    draft_model = DialledModel(model, config.acceptance_rate, config.seed)
    return NeuralDraft(DraftModelRunner(draft_model, vocab_size), Calibration())


def _shape(model: str) -> ModelConfig:
    return SHAPES[model] if model in SHAPES else read_config(locate(model))

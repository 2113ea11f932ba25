"""The shapes of common models, from their published config.json."""

from pathlib import Path

from goodspeed.errors import ConfigError
from goodspeed.models.model_config import ModelConfig, read_config
from goodspeed.registry import Registry


def _llama(hidden: int, layers: int, heads: int, neurons: int, *, is_tied: bool = False) -> ModelConfig:
    return ModelConfig(
        "llama", hidden, layers, heads, 8, hidden // heads, neurons, 128_256, 131_072, tie_word_embeddings=is_tied
    )


def _qwen3(hidden: int, layers: int, heads: int, neurons: int, *, is_tied: bool = False) -> ModelConfig:
    return ModelConfig(
        "qwen3", hidden, layers, heads, 8, 128, neurons, 151_936, 40_960, tie_word_embeddings=is_tied, qk_norm=True
    )


SHAPES: Registry[ModelConfig] = Registry(
    "model shape",
    {
        "llama-3.1-8b": _llama(4096, 32, 32, 14_336),
        "llama-3.1-70b": _llama(8192, 80, 64, 28_672),
        "llama-3.2-1b": _llama(2048, 16, 32, 8192, is_tied=True),
        "llama-3.2-3b": _llama(3072, 28, 24, 8192, is_tied=True),
        "qwen3-0.6b": _qwen3(1024, 28, 16, 3072, is_tied=True),
        "qwen3-1.7b": _qwen3(2048, 28, 16, 6144, is_tied=True),
        "qwen3-4b": _qwen3(2560, 36, 32, 9728, is_tied=True),
        "qwen3-8b": _qwen3(4096, 36, 32, 12_288),
        "qwen3-14b": _qwen3(5120, 40, 40, 17_408),
        "qwen3-32b": _qwen3(5120, 64, 64, 25_600),
        "mistral-7b": ModelConfig("mistral", 4096, 32, 32, 8, 128, 14_336, 32_768, 32_768),
        "smollm2-135m": ModelConfig("llama", 576, 30, 9, 3, 64, 1536, 49_152, 8192, tie_word_embeddings=True),
        "smollm2-360m": ModelConfig("llama", 960, 32, 15, 5, 64, 2560, 49_152, 8192, tie_word_embeddings=True),
        "smollm2-1.7b": ModelConfig("llama", 2048, 24, 32, 32, 64, 8192, 49_152, 8192, tie_word_embeddings=True),
    },
)


def model_shape(name: str) -> ModelConfig:
    """The shape of a model in the catalog, or in a local folder with a config.json.

    Raises ConfigError for a name that is neither, CheckpointError for a broken config.json.
    """
    if name not in SHAPES and Path(name).is_dir():
        return read_config(Path(name))
    try:
        return SHAPES[name]
    except ConfigError as error:
        raise ConfigError(f"{error}; a local folder with a config.json works too") from None

"""Initial students: some layers of the target, a checkpoint with the same vocabulary, or random weights."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch

from goodspeed.errors import ConfigError
from goodspeed.models.catalog import locate
from goodspeed.models.checkpoint import read_config, read_weights, tensor_shapes
from goodspeed.models.draft_vocab import read_draft_vocab
from goodspeed.models.model_config import ModelConfig
from goodspeed.models.packing import EMBEDDING, HEAD
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.tuning.data.example import Example
from goodspeed.tuning.train.student import NORM, StudentInit
from goodspeed.tuning.tuning_config import StudentConfig

HEAD_DIM = 64
INITIAL_DEVIATION = 0.02
OUTPUTS = ("o_proj.weight", "down_proj.weight")


def initial_student(config: StudentConfig, target: Path, examples: Iterable[Example], seed: int) -> StudentInit:
    """The initial student that the config describes. Raises CheckpointError, ConfigError.

    A checkpoint's reduced vocabulary is kept. If the config sets a size, its most used tokens remain.
    """
    if config.init == "layers":
        shape, weights, draft_vocab = *_from_layers(config, target), None
    elif config.init == "fresh":
        shape, weights, draft_vocab = *_fresh(config, read_config(target), seed), None
    else:
        shape, weights, draft_vocab = _from_checkpoint(locate(config.init), target)
    if config.vocabulary:
        draft_vocab = most_used(
            examples, config.vocabulary, torch.arange(shape.vocab_size) if draft_vocab is None else draft_vocab
        )
    return StudentInit(replace(shape, tie_word_embeddings=False), weights, draft_vocab)


def most_used(examples: Iterable[Example], num_tokens: int, known: torch.Tensor) -> torch.Tensor:
    """[num_tokens] int64, ascending: the most used of the `known` tokens [n] in answers; ties go to lower ids."""
    if num_tokens > len(known):
        raise ConfigError(f"vocabulary is {num_tokens}, the target or checkpoint has {len(known)} tokens")
    counts = Counter[int]()
    for example in examples:
        counts.update(example.answer.tolist())
    ranked = sorted(known.tolist(), key=lambda token: (-counts[token], token))
    return torch.tensor(sorted(ranked[:num_tokens]))


def _from_layers(config: StudentConfig, target: Path) -> tuple[ModelConfig, dict[str, torch.Tensor]]:
    shape, weights = read_config(target), read_weights(target)
    if max(config.layers) >= shape.num_layers:
        raise ConfigError(f"layers are {config.layers}, the target has {shape.num_layers}")
    copied = {name: weights[name] for name in (EMBEDDING, NORM, HEAD) if name in weights}
    for new, old in enumerate(config.layers):
        prefix = f"model.layers.{old}."
        layer = {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}
        copied |= {f"model.layers.{new}.{name}": weight for name, weight in layer.items()}
    return replace(shape, num_layers=len(config.layers)), copied


def _from_checkpoint(folder: Path, target: Path) -> tuple[ModelConfig, dict[str, torch.Tensor], torch.Tensor | None]:
    shape, num_tokens = read_config(folder), Tokenizer.load(target).vocab_size
    if shape.vocab_size < num_tokens:
        raise ConfigError(f"{folder} has a vocabulary of {shape.vocab_size}, the target's tokenizer has {num_tokens}")
    draft_vocab = read_draft_vocab(folder, shape.vocab_size)
    return shape, read_weights(folder), None if draft_vocab is None else torch.from_numpy(draft_vocab)


def _fresh(config: StudentConfig, target: ModelConfig, seed: int) -> tuple[ModelConfig, dict[str, torch.Tensor]]:
    num_heads = config.hidden_size // HEAD_DIM
    shape = replace(
        target,
        model_type="llama",
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_layers=config.num_layers,
        num_heads=num_heads,
        num_kv_heads=num_heads,
        head_dim=HEAD_DIM,
        tie_word_embeddings=False,
        attention_bias=False,
        output_bias=False,
        qk_norm=False,
    )
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, size in tensor_shapes(shape).items():
        scale = INITIAL_DEVIATION / (2 * shape.num_layers) ** 0.5 if name.endswith(OUTPUTS) else INITIAL_DEVIATION
        is_norm = len(size) == 1
        weights[name] = torch.ones(size) if is_norm else torch.randn(size, generator=generator) * scale
    return shape, weights

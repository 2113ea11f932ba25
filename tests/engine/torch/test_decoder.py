"""The decoder against transformers' logits, family by family."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
import transformers

from goodspeed.engine.torch.decoder import Decoder, Segment
from goodspeed.engine.torch.kv import BLOCK, KvPool
from goodspeed.models.catalog import locate
from goodspeed.models.checkpoint import read_config, read_weights

CPU = torch.device("cpu")
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
SHAPES: dict[str, tuple[str, dict[str, object]]] = {
    "llama": ("llama", {}),
    "llama-tied": ("llama", {"tie_word_embeddings": True}),
    "llama-one-head-each": ("llama", {"num_key_value_heads": 4}),
    "llama-all-biases": ("llama", {"attention_bias": True}),
    "llama-scaled-rope": ("llama", {"rope_parameters": LLAMA3_ROPE}),
    "llama-linear-rope": (
        "llama",
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0}},
    ),
    "mistral": ("mistral", {"sliding_window": None}),
    "mistral-window": ("mistral", {"sliding_window": 20}),
    "qwen2": ("qwen2", {"num_key_value_heads": 1}),
    "qwen2-window": ("qwen2", {"use_sliding_window": True, "sliding_window": 33, "max_window_layers": 0}),
    "qwen3": ("qwen3", {"head_dim": 32, "tie_word_embeddings": True}),
}


def tokens_of(length: int, vocab_size: int) -> list[int]:
    return torch.randint(vocab_size, (length,), generator=torch.Generator().manual_seed(length)).tolist()


def our_logits(folder: Path, tokens: Sequence[int], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    config = read_config(folder)
    decoder = Decoder(read_weights(folder), config, dtype, CPU)
    pool = KvPool(config, len(tokens), dtype, CPU)
    return decoder.forward([Segment(tokens, pool.reserve(len(tokens)), 0, len(tokens))], pool)


def their_logits(folder: Path, tokens: Sequence[int]) -> torch.Tensor:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    with torch.inference_mode():
        logits: torch.Tensor = model(torch.tensor([tokens])).logits[0]
    return logits


@pytest.mark.parametrize("shape", SHAPES)
def test_logits_are_those_of_transformers(random_checkpoint: Callable[..., Path], shape: str) -> None:
    model_type, sizes = SHAPES[shape]
    folder = random_checkpoint(model_type, **sizes)
    tokens = tokens_of(150, 320)  # more than a block of attention
    ours, theirs = our_logits(folder, tokens), their_logits(folder, tokens)
    assert theirs.std() > 0.5, "logits too flat to tell"
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def test_the_sliding_window_holds_beyond_the_first_keys(random_checkpoint: Callable[..., Path]) -> None:
    folder = random_checkpoint("mistral", sliding_window=64, max_position_embeddings=1024)
    tokens = tokens_of(700, 320)
    torch.testing.assert_close(our_logits(folder, tokens), their_logits(folder, tokens), atol=1e-4, rtol=0)


def test_the_default_model_is_that_of_transformers() -> None:
    folder = locate("smollm2-135m-instruct")
    tokens = tokens_of(90, 49_152)
    ours, theirs = our_logits(folder, tokens), their_logits(folder, tokens)
    torch.testing.assert_close(ours, theirs, atol=1e-4 * float(theirs.abs().max()), rtol=0)
    assert torch.equal(ours.argmax(-1), theirs.argmax(-1))


def test_bfloat16_is_as_near_to_the_truth_as_that_of_transformers() -> None:
    folder = locate("smollm2-135m-instruct")
    tokens = tokens_of(90, 49_152)
    truth = their_logits(folder, tokens)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    with torch.inference_mode():
        theirs = model(torch.tensor([tokens])).logits[0]
    ours = our_logits(folder, tokens, torch.bfloat16)
    assert (ours.float() - truth).abs().mean() < 1.2 * (theirs.float() - truth).abs().mean()


def test_logits_come_for_the_wanted_rows_only(random_checkpoint: Callable[..., Path]) -> None:
    folder = random_checkpoint("llama")
    config = read_config(folder)
    decoder = Decoder(read_weights(folder), config, torch.float32, CPU)
    pool = KvPool(config, 3 * BLOCK, torch.float32, CPU)
    regions = [pool.reserve(20) for _ in range(3)]
    tokens = tokens_of(12, 320)
    every = decoder.forward([Segment(tokens, region, 0, 12) for region in regions], pool)
    some = decoder.forward(
        [Segment(tokens, region, 0, wanted) for region, wanted in zip(regions, (3, 0, 1), strict=True)], pool
    )
    assert every.shape == (36, 320)
    assert torch.equal(some, torch.cat((every[9:12], every[35:])))
    assert decoder.forward([Segment(tokens, regions[0], 0, 0)], pool).shape == (0, 320)

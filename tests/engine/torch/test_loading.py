"""Loading a target engine from a config."""

from collections.abc import Callable
from pathlib import Path

import pytest

from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.interface import Prefill, StreamSpec, Verify
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.torch.loading import load_target
from goodspeed.errors import CheckpointError, ConfigError
from goodspeed.models.tokenizer import Tokenizer


def test_info_describes_the_loaded_model(random_checkpoint: Callable[..., Path]) -> None:
    folder = random_checkpoint("llama", max_position_embeddings=128)
    target = load_target(TargetConfig(model=str(folder), dtype="fp32", device="cpu", kv_memory_mb=1))
    info = target.info
    assert info.model == str(folder)
    assert info.tokenizer_fingerprint == Tokenizer.load(folder).fingerprint
    assert (info.vocab_size, info.max_context, info.end_tokens) == (320, 128, (0,))
    assert info.kv_capacity == 2**20 // (2 * 2 * 2 * 16 * 4)  # keys and values, layers, heads, head_dim, bytes
    assert target.is_batch_invariant


def test_max_context_can_be_reduced_but_not_extended(random_checkpoint: Callable[..., Path]) -> None:
    folder = str(random_checkpoint("llama", max_position_embeddings=128))
    contexts = {
        limit: load_target(TargetConfig(model=folder, device="cpu", max_context=limit)).info.max_context
        for limit in (100, 1000)
    }
    assert contexts == {100: 100, 1000: 128}


def test_a_context_never_exceeds_the_memory(random_checkpoint: Callable[..., Path]) -> None:
    folder = str(random_checkpoint("llama", max_position_embeddings=100_000))
    info = load_target(TargetConfig(model=folder, dtype="fp32", device="cpu", kv_memory_mb=1)).info
    assert info.max_context == info.kv_capacity == 2048


def test_the_text_is_the_same_while_the_number_of_threads_changes(random_checkpoint: Callable[..., Path]) -> None:
    folder, prompt = str(random_checkpoint("llama")), tuple(range(2, 30))
    texts = []
    for threads in (0, 1):
        target = load_target(TargetConfig(model=folder, dtype="fp32", device="cpu", threads=threads, kv_memory_mb=1))
        target.open(0, StreamSpec(prompt, Sampling(temperature=1.0, seed=3, rule=Rule.COUPLED), capacity=200))
        steps = [target.step([Prefill(0, len(prompt))]), *(target.step([Verify(0, ())]) for _ in range(80))]
        texts.append([outcome.next_token for (outcome,) in steps])
    assert texts[0] == texts[1]
    assert len(set(texts[0])) > 10


def test_a_missing_model_and_values_out_of_range_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        load_target(TargetConfig(model=str(tmp_path)))
    for wrong in ({"dtype": "fp8"}, {"device": "tpu"}, {"threads": -1}, {"kv_memory_mb": 0}):
        with pytest.raises(ConfigError):
            TargetConfig(**wrong)

"""The decoder beside transformers, and the target engine's promises: exact rollback, batch-invariant bits."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.interface import Outcome, Prefill, StreamSpec, Verify
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.torch.batch import Segment
from goodspeed.engine.torch.decoder import Decoder
from goodspeed.engine.torch.kv import KvPool
from goodspeed.engine.torch.loading import load_target
from goodspeed.engine.torch.target import TorchTarget
from goodspeed.models.catalog import locate
from goodspeed.models.checkpoint import read_config, read_weights

Checkpoints = Callable[..., Path]
CPU = torch.device("cpu")
TOKENS = [int(token) for token in np.random.default_rng(1).integers(2, 320, 90)]
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
FAMILIES: list[tuple[str, dict[str, object]]] = [
    ("llama", {}),
    ("llama", {"tie_word_embeddings": True, "num_key_value_heads": 4}),
    ("llama", {"attention_bias": True}),
    ("llama", {"rope_parameters": LLAMA3_ROPE}),
    ("mistral", {"sliding_window": 24}),
    ("qwen2", {}),
    ("qwen3", {}),
]


def logits_of(folder: Path, tokens: Sequence[int]) -> torch.Tensor:
    decoder = Decoder(read_weights(folder), read_config(folder), torch.float32, CPU)
    pool = KvPool(decoder.config, len(tokens), torch.float32, CPU)
    return decoder.forward([Segment(tokens, pool.reserve(len(tokens)), 0, len(tokens))], pool)


@torch.inference_mode()
def transformers_logits(folder: Path, tokens: Sequence[int]) -> torch.Tensor:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    logits: torch.Tensor = model(torch.tensor([tokens])).logits[0]
    return logits


@pytest.mark.parametrize(("model_type", "sizes"), FAMILIES, ids=lambda value: str(value)[:40])
def test_logits_are_those_of_transformers(
    random_checkpoint: Checkpoints, model_type: str, sizes: dict[str, object]
) -> None:
    folder = random_checkpoint(model_type, **sizes)
    torch.testing.assert_close(logits_of(folder, TOKENS), transformers_logits(folder, TOKENS), rtol=1e-4, atol=1e-4)


def test_default_target_has_the_logits_of_transformers() -> None:
    folder = locate("smollm2-135m-instruct")
    tokens = [11 * i % 49_000 for i in range(1, 71)]
    torch.testing.assert_close(logits_of(folder, tokens), transformers_logits(folder, tokens), rtol=1e-3, atol=2e-3)


def target_of(folder: Path, dtype: str) -> TorchTarget:
    return load_target(TargetConfig(model=str(folder), dtype=dtype, device="cpu", threads=2, kv_memory_mb=8))


def write(target: TorchTarget, key: int, num_tokens: int, sampling: Sampling, wrong: Sequence[int]) -> list[int]:
    """An answer in rounds whose drafts are right, but for a wrong token at the places `wrong` of the answer."""
    truth = baseline(target, 1000 + key, num_tokens + 8, sampling)
    target.open(key, StreamSpec(tuple(TOKENS), sampling, len(TOKENS) + num_tokens + 16))
    answer = [prefill(target, key, 37)]
    while len(answer) < num_tokens:
        place = len(answer)
        draft = [(token + 1) % 320 if place + i in wrong else token for i, token in enumerate(truth[place : place + 5])]
        outcome = target.step([Verify(key, tuple(draft))])[0]
        answer += [*draft[: outcome.num_accepted], next_of(outcome)]
    target.close(key)
    return answer[:num_tokens]


def baseline(target: TorchTarget, key: int, num_tokens: int, sampling: Sampling) -> list[int]:
    """The target without drafts: one stream, one token a step."""
    target.open(key, StreamSpec(tuple(TOKENS), sampling, len(TOKENS) + num_tokens))
    answer = [prefill(target, key, len(TOKENS))]
    while len(answer) < num_tokens:
        answer.append(next_of(target.step([Verify(key, ())])[0]))
    target.close(key)
    return answer


def prefill(target: TorchTarget, key: int, chunk: int) -> int:
    starts = range(0, len(TOKENS), chunk)
    outcomes = [target.step([Prefill(key, min(chunk, len(TOKENS) - start))])[0] for start in starts]
    assert all(outcome.next_token is None for outcome in outcomes[:-1])
    return next_of(outcomes[-1])


def next_of(outcome: Outcome) -> int:
    assert outcome.next_token is not None
    return outcome.next_token


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(0.9, seed=5, rule=Rule.COUPLED)], ids=["greedy", "coupled"])
def test_wrong_drafts_leave_no_trace(random_checkpoint: Checkpoints, dtype: str, sampling: Sampling) -> None:
    target = target_of(random_checkpoint("qwen3"), dtype)
    expected = baseline(target, 1, 60, sampling)
    assert write(target, 2, 60, sampling, wrong=()) == expected
    assert write(target, 3, 60, sampling, wrong=range(0, 60, 3)) == expected
    assert target.num_open == 0
    assert target.num_reserved == 0


def test_a_rollback_that_forgets_is_caught(random_checkpoint: Checkpoints) -> None:
    target = target_of(random_checkpoint("llama"), "fp32")
    expected = baseline(target, 1, 40, Sampling())
    target.open(2, StreamSpec(tuple(TOKENS), Sampling(), 200))
    answer = [prefill(target, 2, 37)]
    while len(answer) < 40:
        wrong = (expected[len(answer)] + 1) % 320
        target.step([Verify(2, (wrong, wrong))])  # the planted bug: this round's outcome is not taken as the answer
        answer.append(next_of(target.step([Verify(2, ())])[0]))
    assert answer != expected


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("model", ["random", "smollm2-135m-instruct"])
def test_bits_do_not_depend_on_the_batch(random_checkpoint: Checkpoints, dtype: str, model: str) -> None:
    folder = random_checkpoint("llama") if model == "random" else locate(model)
    torch_dtype = torch.float32 if dtype == "fp32" else torch.bfloat16
    decoder = Decoder(read_weights(folder), read_config(folder), torch_dtype, CPU)
    tokens = TOKENS[:75]
    whole = in_chunks(decoder, tokens, [75], beside=0)
    for chunks in ([1] * 75, [5] * 15, [9, 1, 30, 2, 33]):
        for beside in (0, 13):
            assert torch.equal(in_chunks(decoder, tokens, chunks, beside), whole), (chunks[:3], beside)


def in_chunks(decoder: Decoder, tokens: Sequence[int], chunks: Sequence[int], beside: int) -> torch.Tensor:
    """Logits [tokens, vocab] of a text that comes in such chunks, each beside other tokens of another stream."""
    pool = KvPool(decoder.config, 256, decoder.dtype, CPU)
    other, own = pool.reserve(100), pool.reserve(100)
    parts, start = [], 0
    for chunk in chunks:
        segments = [Segment(tokens[start : start + chunk], own, start, chunk)]
        if beside:
            segments.insert(0, Segment(tokens[:beside][::-1], other, 0, 0))
        parts.append(decoder.forward(segments, pool))
        start += chunk
    return torch.cat(parts)

"""lm-eval's loglikelihood requests through the server: what it reads from the answers is what transformers computes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import openai
import pytest
import torch
import transformers
from tests.drafter.live import LiveVerifier, api_of, drafter_at

from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.torch.loading import load_target
from goodspeed.models.tokenizer import Tokenizer

CASES = [
    (list(b"The sky is"), list(b" blue")),
    (list(b"The sky is"), list(b" green today")),
    (list(b"x"), list(b"y")),
    (list(b"a longer context, of more than one chunk " * 5), list(b" ends")),
]
"""Contexts and continuations, in tokens."""


@pytest.fixture(scope="module")
def folder(random_checkpoint: Callable[..., Path]) -> Path:
    return random_checkpoint("llama")


@torch.inference_mode()
def logprobs(folder: Path, tokens: Sequence[int]) -> torch.Tensor:
    """[len(tokens), vocab]: of the token after each, by transformers."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    rows: torch.Tensor = model(torch.tensor([tokens])).logits[0].log_softmax(-1)
    return rows


def expected(folder: Path, context: Sequence[int], continuation: Sequence[int]) -> tuple[float, bool]:
    """The log-likelihood of the continuation, and whether it is what the model would write at temperature 0."""
    rows = logprobs(folder, [*context, *continuation])[len(context) - 1 : -1]
    chosen = rows[range(len(continuation)), list(continuation)]
    return float(chosen.sum()), rows.argmax(-1).tolist() == list(continuation)


def read(choice: Any, num_context: int) -> tuple[float, bool]:
    """As lm-eval reads a choice: the last token is the generated one."""
    values = choice.logprobs.token_logprobs[num_context:-1]
    tops = choice.logprobs.top_logprobs[num_context:-1]
    return sum(values), all(value == max(top.values()) for value, top in zip(values, tops, strict=True))


async def test_loglikelihood_is_that_of_transformers(folder: Path, tokenizer: Tokenizer) -> None:
    target = load_target(TargetConfig(model=str(folder), dtype="fp32", device="cpu", threads=1, kv_memory_mb=2))
    live = LiveVerifier(cast(Any, target), fingerprint=target.info.tokenizer_fingerprint)
    likeliest = int(logprobs(folder, CASES[0][0])[-1].argmax())
    cases = [*CASES, (CASES[0][0], [likeliest])]
    async with (
        live.running() as verifier,
        drafter_at([verifier]) as drafter,
        api_of(drafter, tokenizer) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        reply = await client.completions.create(
            model="default",
            prompt=[[*context, *continuation] for context, continuation in cases],
            temperature=0,
            max_tokens=1,
            logprobs=1,
            seed=1234,
            echo=True,
        )
        for choice, (context, continuation) in zip(reply.choices, cases, strict=True):
            loglikelihood, is_greedy = read(choice, len(context))
            value, is_argmax = expected(folder, context, continuation)
            assert loglikelihood == pytest.approx(value, abs=1e-3)
            assert is_greedy == is_argmax
        assert is_greedy

"""Answers do not depend on the batch; scoring an answer gives the top k of its generation."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.interface import Prefill, StreamSpec, Verify
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.torch.decoder import Decoder
from goodspeed.engine.torch.loading import load_target
from goodspeed.models.checkpoint import read_config, read_weights
from goodspeed.tuning.data.example import Example, Origin, Rejected
from goodspeed.tuning.data.generation import MAX_SCORED, AnswerRequest, Generator, RecordedAnswer

Checkpoints = Callable[..., Path]


@pytest.fixture(scope="module")
def folder(random_checkpoint: Checkpoints) -> Path:
    return random_checkpoint("llama", max_position_embeddings=2048)


@pytest.fixture(scope="module")
def decoder(folder: Path) -> Decoder:
    return Decoder(read_weights(folder), read_config(folder), torch.float32, torch.device("cpu"))


def requests(num: int = 12) -> list[AnswerRequest]:
    rng = np.random.default_rng(3)
    return [
        AnswerRequest(
            Origin(f"p#{i}", "p", "", temperature=0.9 * (i % 2), seed=i),
            tuple(int(token) for token in rng.integers(2, 320, 3 + 5 * i)),
            20,
        )
        for i in range(num)
    ]


def by_key(examples: list[Example]) -> dict[str, Example]:
    return {example.origin.key: example for example in examples}


def test_batch_does_not_change_answers(decoder: Decoder) -> None:
    batched = by_key(list(Generator(decoder, 5, 8, kv_capacity=400).answers(requests())))
    single = by_key([example for request in requests() for example in Generator(decoder, 1, 8, 200).answers([request])])
    assert batched.keys() == single.keys()
    for key, example in batched.items():
        assert example.answer.tolist() == single[key].answer.tolist()
        np.testing.assert_allclose(example.top_logprobs, single[key].top_logprobs, atol=2e-2)


def test_greedy_answer_equals_that_of_the_target_engine(folder: Path, decoder: Decoder) -> None:
    target = load_target(TargetConfig(str(folder), dtype="fp32", device="cpu", threads=1, kv_memory_mb=8))
    ended = 0
    for example in Generator(decoder, 4, 8, kv_capacity=400).answers(
        [request for request in requests() if not request.origin.temperature]
    ):
        target.open(1, StreamSpec(tuple(example.prompt.tolist()), Sampling(), 200))
        tokens = [target.step([Prefill(1, len(example.prompt))])[0].next_token]
        while len(tokens) < len(example.answer):
            tokens.append(target.step([Verify(1, ())])[0].next_token)
        target.close(1)
        assert example.answer.tolist() == tokens
        assert example.answer.tolist() == example.top_tokens[:, 0].tolist()
        assert 0 not in example.answer[:-1]
        ended += example.answer[-1] == 0
        assert example.answer[-1] == 0 or len(example.answer) == 20
    assert ended < 6  # some answers reach max_tokens


def test_scoring_an_answer_gives_the_top_k_of_its_generation(decoder: Decoder) -> None:
    generator = Generator(decoder, 4, 8, kv_capacity=4000)
    generated = next(generator.answers([requests()[4]]))
    recorded = RecordedAnswer(
        generated.origin, tuple(generated.prompt.tolist()), tuple(generated.answer.tolist()), (Rejected(0, 7),)
    )
    scored = generator.score(recorded)
    assert scored.top_tokens[:, 0].tolist() == generated.answer.tolist()
    np.testing.assert_allclose(scored.top_logprobs, generated.top_logprobs, atol=2e-2)
    assert scored.rejected == (Rejected(0, 7),)


def test_long_answer_is_scored_in_chunks(decoder: Decoder) -> None:
    rng = np.random.default_rng(0)
    prompt, answer = (tuple(rng.integers(2, 320, num).tolist()) for num in (1, MAX_SCORED + 100))
    scored = Generator(decoder, 1, 4, kv_capacity=2000).score(RecordedAnswer(Origin("a", "b", ""), prompt, answer))
    start = Generator(decoder, 1, 4, kv_capacity=2000).score(RecordedAnswer(Origin("a", "b", ""), prompt, answer[:50]))
    assert scored.top_tokens.shape == (len(answer), 4)
    np.testing.assert_array_equal(scored.top_tokens[:50], start.top_tokens)

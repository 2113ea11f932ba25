"""Answers made together are the answers made alone; scoring an answer gives what was seen while it was made."""

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
from goodspeed.tuning.data.generation import MAX_SCORED, GenerationRequest, Generator, RecordedAnswer

Checkpoints = Callable[..., Path]


@pytest.fixture(scope="module")
def folder(random_checkpoint: Checkpoints) -> Path:
    return random_checkpoint("llama", max_position_embeddings=2048)


@pytest.fixture(scope="module")
def decoder(folder: Path) -> Decoder:
    return Decoder(read_weights(folder), read_config(folder), torch.float32, torch.device("cpu"))


def asks(num: int = 12) -> list[GenerationRequest]:
    rng = np.random.default_rng(3)
    return [
        GenerationRequest(
            Origin(f"p#{i}", "p", "", temperature=0.9 * (i % 2), seed=i),
            tuple(int(token) for token in rng.integers(2, 320, 3 + 5 * i)),
            20,
        )
        for i in range(num)
    ]


def by_key(examples: list[Example]) -> dict[str, Example]:
    return {one.origin.key: one for one in examples}


def test_batch_does_not_change_answers(decoder: Decoder) -> None:
    together = by_key(list(Generator(decoder, 5, 8, kv_capacity=400).answers(asks())))
    alone = by_key([one for ask in asks() for one in Generator(decoder, 1, 8, 200).answers([ask])])
    assert together.keys() == alone.keys()
    for key, one in together.items():
        assert one.answer.tolist() == alone[key].answer.tolist()
        np.testing.assert_allclose(one.top_logprobs, alone[key].top_logprobs, atol=2e-2)


def test_greedy_answer_is_the_engine_s_own_and_ends_where_it_ends(folder: Path, decoder: Decoder) -> None:
    target = load_target(TargetConfig(str(folder), dtype="fp32", device="cpu", threads=2, kv_memory_mb=8))
    ended = 0
    for one in Generator(decoder, 4, 8, kv_capacity=400).answers([ask for ask in asks() if not ask.origin.temperature]):
        target.open(1, StreamSpec(tuple(one.prompt.tolist()), Sampling(), 200))
        said = [target.step([Prefill(1, len(one.prompt))])[0].next_token]
        while len(said) < len(one.answer):
            said.append(target.step([Verify(1, ())])[0].next_token)
        target.close(1)
        assert one.answer.tolist() == said
        assert one.answer.tolist() == one.top_tokens[:, 0].tolist()
        assert 0 not in one.answer[:-1]
        ended += one.answer[-1] == 0
        assert one.answer[-1] == 0 or len(one.answer) == 20
    assert ended < 6  # some are cut


def test_scoring_an_answer_gives_what_was_seen_while_it_was_made(decoder: Decoder) -> None:
    generator = Generator(decoder, 4, 8, kv_capacity=4000)
    made = next(generator.answers([asks()[4]]))
    said = RecordedAnswer(made.origin, tuple(made.prompt.tolist()), tuple(made.answer.tolist()), (Rejected(0, 7),))
    scored = generator.score(said)
    assert scored.top_tokens[:, 0].tolist() == made.answer.tolist()
    np.testing.assert_allclose(scored.top_logprobs, made.top_logprobs, atol=2e-2)
    assert scored.rejected == (Rejected(0, 7),)


def test_long_answer_is_scored_in_pieces(decoder: Decoder) -> None:
    rng = np.random.default_rng(0)
    prompt, answer = (tuple(rng.integers(2, 320, num).tolist()) for num in (1, MAX_SCORED + 100))
    scored = Generator(decoder, 1, 4, kv_capacity=2000).score(RecordedAnswer(Origin("a", "b", ""), prompt, answer))
    beginning = Generator(decoder, 1, 4, kv_capacity=2000).score(
        RecordedAnswer(Origin("a", "b", ""), prompt, answer[:50])
    )
    assert scored.top_tokens.shape == (len(answer), 4)
    np.testing.assert_array_equal(scored.top_tokens[:50], beginning.top_tokens)

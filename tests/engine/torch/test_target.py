"""The torch target engine: rounds, rollback, chunks and rules give the text of plain decoding."""

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from goodspeed.decoding.draft import SparseProbs
from goodspeed.decoding.logit_changes import BadWord, LogitChanges, TokenBias
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.interface import Prefill, StreamSpec, Verify
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.torch.decoder import Decoder, Segment
from goodspeed.engine.torch.kv import KvPool
from goodspeed.engine.torch.loading import load_target
from goodspeed.engine.torch.target import TorchTarget
from goodspeed.models.checkpoint import read_config, read_weights

GREEDY = Sampling()
COUPLED = Sampling(temperature=0.9, top_p=0.95, seed=7, rule=Rule.COUPLED)
PROMPT = tuple(range(3, 40))
STREAMS = itertools.count()


@pytest.fixture(scope="module")
def folder(random_checkpoint: Callable[..., Path]) -> Path:
    return random_checkpoint("qwen3")


@pytest.fixture(scope="module")
def target(folder: Path) -> TorchTarget:
    return load_target(TargetConfig(model=str(folder), dtype="fp32", device="cpu", threads=1, kv_memory_mb=1))


def open_stream(target: TorchTarget, spec: StreamSpec, chunk: int = 1000) -> tuple[int, int]:
    """A prefilled stream and its first own token."""
    stream = next(STREAMS)
    target.open(stream, spec)
    for start in range(0, len(spec.tokens), chunk):
        (outcome,) = target.step([Prefill(stream, min(chunk, len(spec.tokens) - start))])
    assert outcome.next_token is not None
    return stream, outcome.next_token


def round_of(target: TorchTarget, stream: int, draft: Sequence[int] = ()) -> list[int]:
    """What one verification commits."""
    (outcome,) = target.step([Verify(stream, tuple(draft))])
    assert outcome.next_token is not None
    return [*draft[: outcome.num_accepted], outcome.next_token]


def decode(target: TorchTarget, sampling: Sampling, length: int, tokens: Sequence[int] = PROMPT) -> list[int]:
    """The target without drafts: one token at a time."""
    stream, first = open_stream(target, StreamSpec(tuple(tokens), sampling, len(tokens) + length))
    answer = [first]
    while len(answer) < length:
        answer += round_of(target, stream)
    target.close(stream)
    return answer


def speculate(target: TorchTarget, sampling: Sampling, truth: Sequence[int], rng: random.Random) -> list[int]:
    """Rounds whose drafts are the truth, most of them spoilt at a random place."""
    stream, first = open_stream(target, StreamSpec(PROMPT, sampling, len(PROMPT) + len(truth) + 9), chunk=10)
    answer = [first]
    while len(answer) < len(truth):
        draft = list(truth[len(answer) : len(answer) + rng.randrange(9)])
        spoilt = rng.randrange(9)
        if spoilt < len(draft):
            draft[spoilt] = (draft[spoilt] + 1) % target.info.vocab_size
        answer += round_of(target, stream, draft)
    target.close(stream)
    return answer[: len(truth)]


CHANGES = LogitChanges(1.3, 0.5, 0.5, (TokenBias(7, 2.0),), bad_words=(BadWord((9,)),))
PENALISED = [replace(sampling, logit_changes=CHANGES) for sampling in (GREEDY, COUPLED)]


@pytest.mark.parametrize("sampling", [GREEDY, COUPLED, *PENALISED])
def test_wrong_drafts_leave_no_trace(target: TorchTarget, sampling: Sampling) -> None:
    truth = decode(target, sampling, 60)
    for seed in range(4):
        assert speculate(target, sampling, truth, random.Random(seed)) == truth


class KeepsOneTooMany(Decoder):
    """The planted bug: the cache is rolled back to one token more than is committed."""

    def forward(self, segments: Sequence[Segment], pool: KvPool) -> torch.Tensor:
        off = [replace(one, num_past=one.num_past + 1) if one.num_past > len(PROMPT) else one for one in segments]
        return super().forward(off, pool)


def test_a_rollback_that_is_off_by_one_is_noticed(target: TorchTarget, folder: Path) -> None:
    truth = decode(target, GREEDY, 60)
    decoder = KeepsOneTooMany(read_weights(folder), read_config(folder), torch.float32, torch.device("cpu"))
    wrong = TorchTarget(decoder, target.info, is_batch_invariant=True)
    assert speculate(wrong, GREEDY, truth, random.Random(0)) != truth


def test_a_ragged_batch_equals_each_stream_in_its_own_batch(target: TorchTarget) -> None:
    prompts = [tuple(range(start, start + length)) for start, length in ((1, 5), (50, 33), (9, 130), (200, 1))]
    baseline = [decode(target, GREEDY, 30, prompt) for prompt in prompts]
    opened = [open_stream(target, StreamSpec(prompt, GREEDY, len(prompt) + 40)) for prompt in prompts]
    answers = [[first] for _, first in opened]
    late = next(STREAMS)
    target.open(late, StreamSpec(tuple(range(60)), GREEDY, 80))
    for turn in range(6):
        works = [
            Verify(stream, tuple(truth[len(answer) : len(answer) + turn % (place + 1)]))
            for place, ((stream, _), truth, answer) in enumerate(zip(opened, baseline, answers, strict=True))
        ]
        *outcomes, chunk = target.step([*works, Prefill(late, 10)])
        assert (chunk.next_token is None) == (turn < 5)
        for work, outcome, answer in zip(works, outcomes, answers, strict=True):
            assert outcome.num_accepted == len(work.draft_tokens)
            assert outcome.next_token is not None
            answer += [*work.draft_tokens, outcome.next_token]
    assert answers == [truth[: len(answer)] for truth, answer in zip(baseline, answers, strict=True)]
    for stream in [late, *(stream for stream, _ in opened)]:
        target.close(stream)


@pytest.mark.parametrize("chunk", [1, 7, 36])
def test_a_prompt_in_chunks_equals_the_whole(target: TorchTarget, chunk: int) -> None:
    stream, first = open_stream(target, StreamSpec(PROMPT, GREEDY, 60), chunk)
    assert [first, *round_of(target, stream)] == decode(target, GREEDY, 2)
    target.close(stream)


def test_a_resumed_stream_goes_on_as_if_nothing_had_happened(target: TorchTarget) -> None:
    for sampling in (GREEDY, COUPLED):
        truth = decode(target, sampling, 40)
        assert decode(target, sampling, 15, (*PROMPT, *truth[:25])) == truth[25:]


def test_rejection_keeps_a_likely_token_and_replaces_an_impossible_one(target: TorchTarget) -> None:
    sampling = Sampling(temperature=0.01, seed=3, rule=Rule.REJECTION)
    likely, following = decode(target, sampling, 2)[0:2]
    stream, first = open_stream(target, StreamSpec(PROMPT, sampling, 60))
    assert first == likely
    probs = SparseProbs(np.array([following], dtype=np.uint32), np.ones(1, dtype=np.uint16))
    (outcome,) = target.step([Verify(stream, (following,), (probs,))])
    assert outcome.num_accepted == 1
    (outcome,) = target.step([Verify(stream, ((following + 1) % 320,))])
    assert outcome.num_accepted == 0
    target.close(stream)


@pytest.mark.parametrize("sampling", [GREEDY, PENALISED[0]])
def test_logprobs_are_those_of_the_committed_tokens_before_any_change(target: TorchTarget, sampling: Sampling) -> None:
    truth = decode(target, sampling, 5)
    stream = next(STREAMS)
    target.open(stream, StreamSpec(PROMPT, sampling, 60, logprobs=True))
    (prefilled,) = target.step([Prefill(stream, len(PROMPT))])
    (verified,) = target.step([Verify(stream, (*truth[1:3], (truth[3] + 1) % 320))])
    target.close(stream)
    reported = [*prefilled.logprobs, *verified.logprobs]
    assert reported == logprob_rows(target, [*PROMPT, *truth[:3]])[-4:][range(4), truth[:4]].tolist()


def logprob_rows(target: TorchTarget, tokens: list[int]) -> torch.Tensor:
    """[len(tokens), vocab]: of the token after each of these."""
    decoder = target.decoder
    pool = KvPool(decoder.config, 64, decoder.dtype, decoder.device)
    return decoder.forward([Segment(tokens, pool.reserve(64), 0, len(tokens))], pool).log_softmax(-1)


@pytest.mark.parametrize("chunk", [7, 1000])
def test_logprobs_of_the_prompt_and_of_the_likeliest_tokens_are_those_of_a_forward_pass(
    target: TorchTarget, chunk: int
) -> None:
    stream = next(STREAMS)
    target.open(stream, StreamSpec(PROMPT, GREEDY, 60, logprobs=True, top_logprobs=3, prompt_logprobs=True))
    for start in range(0, len(PROMPT), chunk):
        (outcome,) = target.step([Prefill(stream, min(chunk, len(PROMPT) - start))])
    target.close(stream)
    rows = logprob_rows(target, list(PROMPT))
    assert outcome.prompt_logprobs == pytest.approx(rows[range(len(PROMPT) - 1), list(PROMPT[1:])].tolist(), abs=1e-5)
    tops = [*outcome.prompt_top_logprobs, *outcome.top_logprobs]
    assert [top.tokens for top in tops] == [tuple(row) for row in rows.topk(3).indices.tolist()]
    assert [value for top in tops for value in top.logprobs] == pytest.approx(
        rows.topk(3).values.flatten().tolist(), abs=1e-5
    )
    assert outcome.top_logprobs[0].tokens[0] == outcome.next_token


def test_memory_is_taken_as_a_stream_grows_and_closing_frees_it(target: TorchTarget) -> None:
    assert target.num_reserved == 0
    stream, _ = open_stream(target, StreamSpec(PROMPT, GREEDY, target.info.kv_capacity))
    assert target.num_reserved == target.info.kv_block
    for _ in range(target.info.kv_block):
        round_of(target, stream)
    assert target.num_reserved == 2 * target.info.kv_block
    target.close(stream)
    assert (target.num_open, target.num_reserved) == (0, 0)


def test_a_stream_whose_blocks_are_apart_is_the_same(target: TorchTarget) -> None:
    truth = decode(target, GREEDY, 150)
    streams = [open_stream(target, StreamSpec(PROMPT, GREEDY, 400)) for _ in range(3)]
    texts = [[first] for _, first in streams]
    while len(texts[0]) < len(truth):  # in turn, so that each gets every third block
        for (stream, _), answer in zip(streams, texts, strict=True):
            answer.extend(round_of(target, stream))
    assert texts == [truth] * 3
    for stream, _ in streams:
        target.close(stream)


def test_misuse_of_the_seam_fails_at_once(target: TorchTarget) -> None:
    stream = next(STREAMS)
    target.open(stream, StreamSpec(PROMPT, GREEDY, 40))
    with pytest.raises(AssertionError, match="not completely prefilled"):
        target.step([Verify(stream, ())])
    with pytest.raises(AssertionError, match="prefill of 38, 37 remain"):
        target.step([Prefill(stream, 38)])
    target.step([Prefill(stream, 37)])
    with pytest.raises(AssertionError, match="41 tokens in a capacity of 40"):
        target.step([Verify(stream, (1, 2, 3))])
    target.close(stream)

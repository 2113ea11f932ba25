"""What every target engine must do, whatever computes its logits. A new engine is one more entry in ENGINES.

The engines differ in models, so each is compared with itself: its text without drafts, one stream at a time.
"""

import itertools
import random
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.gguf_files import write_gguf

from goodspeed.decoding.draft import Draft, DraftRequest
from goodspeed.decoding.logit_changes import BadWord, LogitChanges
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.interface import CachedPrefix, Outcome, Prefill, StreamSpec, TargetEngine, Verify, Work
from goodspeed.engine.reference import ReferenceRequest
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.targets import target_engine
from goodspeed.engine.toy_target import ToyTarget
from goodspeed.lossless.pair import DraftSchedule, EnginePair

GREEDY = Sampling()
COUPLED = Sampling(temperature=0.9, top_p=0.95, seed=7, rule=Rule.COUPLED)
REJECTION = Sampling(temperature=0.9, seed=7, rule=Rule.REJECTION)
SAMPLINGS = pytest.mark.parametrize("sampling", [GREEDY, COUPLED], ids=["greedy", "coupled"])
PROMPT = tuple(range(3, 40))
PROMPTS = [tuple(range(start, start + length)) for start, length in ((1, 5), (50, 33), (9, 130), (200, 1))]
MIN_TOKENS = 259  # in the vocabulary of every engine here
STREAMS = itertools.count(1)


def _toy(_checkpoint: Callable[..., Path], _folder: Path) -> TargetEngine:
    return ToyTarget()


def _torch(checkpoint: Callable[..., Path], _folder: Path) -> TargetEngine:
    config = TargetConfig(model=str(checkpoint("qwen3")), dtype="fp32", device="cpu", threads=1, kv_memory_mb=1)
    return target_engine("torch", config)


def _llama_cpp(kind: str) -> Callable[[Callable[..., Path], Path], TargetEngine]:
    def load(_checkpoint: Callable[..., Path], folder: Path) -> TargetEngine:
        if find_spec("llama_cpp") is None:
            pytest.skip("llama-cpp-python is not installed: pip install 'goodspeed[llama]'")
        path = write_gguf(folder / f"{kind}.gguf", kind=kind)
        return target_engine("llama_cpp", TargetConfig(model=str(path), device="cpu", threads=1, kv_memory_mb=1))

    return load


def _vllm(checkpoint: Callable[..., Path], _folder: Path) -> TargetEngine:
    if find_spec("vllm") is None:
        pytest.skip("vLLM is not installed: docs/guide/vllm.md says how this test runs in an environment that has it")
    model = str(checkpoint("qwen3", head_dim=32))
    options = {"max_num_seqs": 8, "max_num_batched_tokens": 256}
    return target_engine("vllm", TargetConfig(model=model, dtype="fp32", threads=1, kv_memory_mb=4, vllm=options))


ENGINES: dict[str, Callable[[Callable[..., Path], Path], TargetEngine]] = {
    "toy": _toy,
    "torch": _torch,
    "vllm": _vllm,
    "llama_cpp F16": _llama_cpp("F16"),
    "llama_cpp Q4_0": _llama_cpp("Q4_0"),
}


@pytest.fixture(scope="module", params=ENGINES)
def target(
    request: pytest.FixtureRequest,
    random_checkpoint: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> TargetEngine:
    return ENGINES[request.param](random_checkpoint, tmp_path_factory.mktemp("models"))


def opened(target: TargetEngine, spec: StreamSpec, chunk: int = 1000) -> tuple[int, int]:
    """A prefilled stream and its first own token."""
    stream, outcome = next(STREAMS), None
    target.open(stream, spec)
    start = spec.prefix.num_tokens if spec.prefix else 0
    for done in range(start, len(spec.tokens), chunk):
        assert outcome is None or outcome.next_token is None
        (outcome,) = target.step([Prefill(stream, min(chunk, len(spec.tokens) - done))])
    assert outcome is not None
    assert outcome.next_token is not None
    return stream, outcome.next_token


def committed(outcome: Outcome, draft: Sequence[int] = ()) -> list[int]:
    assert outcome.next_token is not None
    return [*draft[: outcome.num_accepted], outcome.next_token]


def verified(target: TargetEngine, stream: int, draft: Sequence[int] = ()) -> list[int]:
    """What one verification commits."""
    (outcome,) = target.step([Verify(stream, tuple(draft))])
    return committed(outcome, draft)


def decode(
    target: TargetEngine,
    sampling: Sampling,
    length: int,
    tokens: Sequence[int] = PROMPT,
    prefix: CachedPrefix | None = None,
) -> list[int]:
    """The target without drafts: one token at a time."""
    spec = StreamSpec(tuple(tokens), sampling, len(tokens) + length, prefix=prefix)
    stream, first = opened(target, spec)
    answer = [first]
    while len(answer) < length:
        answer += verified(target, stream)
    target.close(stream)
    return answer


def spoilt(draft: list[int], rng: random.Random) -> list[int]:
    """The draft, most often with a wrong token at a random place."""
    place = rng.randrange(9)
    if place < len(draft):
        draft[place] = (draft[place] + 1) % MIN_TOKENS
    return draft


class TruthfulDrafts:
    """A DraftEngine that proposes the known texts, some of its tokens spoilt."""

    def __init__(self, texts: dict[tuple[int, ...], Sequence[int]]) -> None:
        self._texts = texts
        self._rng = random.Random(0)
        self._open: dict[int, tuple[Sequence[int], int]] = {}

    def open(self, stream: int, tokens: Sequence[int], _sampling: Sampling) -> None:
        self._open[stream] = self._texts[tuple(tokens)], 0

    def draft(self, requests: Sequence[DraftRequest]) -> list[Draft]:
        drafts = []
        for request in requests:
            text, done = self._open[request.stream]
            tokens = spoilt(list(text[done : done + request.max_tokens]), self._rng)
            drafts.append(Draft(tuple(tokens), (0.5,) * len(tokens)))
        return drafts

    def commit(self, stream: int, tokens: Sequence[int]) -> None:
        text, done = self._open[stream]
        self._open[stream] = text, done + len(tokens)

    def close(self, stream: int) -> None:
        del self._open[stream]


@SAMPLINGS
@pytest.mark.parametrize("max_streams", [1, 4])
def test_every_window_and_batch_keeps_the_text(target: TargetEngine, sampling: Sampling, max_streams: int) -> None:
    """The answers end where the text has an end token, which proposals run across."""
    ends = (decode(target, sampling, 24, PROMPTS[1])[17],)
    texts = {prompt: decode(target, sampling, 40, prompt) for prompt in PROMPTS}
    requests = [ReferenceRequest(prompt, 40, sampling, ends) for prompt in PROMPTS]
    pair = EnginePair(target, TruthfulDrafts(dict(texts)), STREAMS)
    baseline = [text.tokens for text in pair.generate_baseline(requests)]
    assert any(text[-1] in ends and len(text) < 40 for text in baseline)
    for window in range(9):
        schedule = DraftSchedule((window, max(0, window - 3), 8), max_streams)
        assert [text.tokens for text in pair.generate(requests, schedule)] == baseline


@pytest.mark.parametrize("chunk", [1, 7, 36])
def test_prompt_in_chunks_is_as_good_as_the_whole(target: TargetEngine, chunk: int) -> None:
    stream, first = opened(target, StreamSpec(PROMPT, GREEDY, 60), chunk)
    assert [first, *verified(target, stream)] == decode(target, GREEDY, 2)
    target.close(stream)


def test_prompt_that_fills_many_passes_is_read_at_once(target: TargetEngine) -> None:
    prompt = tuple(3 + i % 200 for i in range(200))
    stream, first = opened(target, StreamSpec(prompt, GREEDY, 210), 67)
    assert [first, *verified(target, stream)] == decode(target, GREEDY, 2, prompt)
    target.close(stream)


def test_prefill_and_verification_share_a_step(target: TargetEngine) -> None:
    baseline = [decode(target, GREEDY, 30, prompt) for prompt in PROMPTS]
    streams = [opened(target, StreamSpec(prompt, GREEDY, len(prompt) + 40)) for prompt in PROMPTS]
    answers = [[first] for _, first in streams]
    late = next(STREAMS)
    target.open(late, StreamSpec(tuple(range(60)), GREEDY, 80))
    for turn in range(6):
        works = [
            Verify(stream, tuple(text[len(answer) : len(answer) + turn % (place + 1)]))
            for place, ((stream, _), text, answer) in enumerate(zip(streams, baseline, answers, strict=True))
        ]
        *outcomes, chunk = target.step([*works, Prefill(late, 10)])
        assert (chunk.next_token is None) == (turn < 5)
        for work, outcome, answer in zip(works, outcomes, answers, strict=True):
            assert (outcome.stream, outcome.num_accepted) == (work.stream, len(work.draft_tokens))
            answer.extend(committed(outcome, work.draft_tokens))
    assert answers == [text[: len(answer)] for text, answer in zip(baseline, answers, strict=True)]
    for stream in [late, *(stream for stream, _ in streams)]:
        target.close(stream)


@SAMPLINGS
def test_resumed_stream_continues_its_text(target: TargetEngine, sampling: Sampling) -> None:
    text = decode(target, sampling, 40)
    assert decode(target, sampling, 15, (*PROMPT, *text[:25])) == text[25:]


@SAMPLINGS
def test_stream_is_continued_by_a_verification_of_its_last_token(target: TargetEngine, sampling: Sampling) -> None:
    """As after a preemption: no token is committed before the proposal that was waiting."""
    text = decode(target, sampling, 20)
    stream, tokens = next(STREAMS), (*PROMPT, *text[:9])
    target.open(stream, StreamSpec(tokens, sampling, 90, num_resumed=9))
    assert target.step([Prefill(stream, len(tokens) - 1)])[0].next_token is None
    assert verified(target, stream, text[9:12]) == text[9:13]
    assert verified(target, stream, text[13:15]) == text[13:16]
    target.close(stream)


def test_stream_that_is_cancelled_leaves_no_trace(target: TargetEngine) -> None:
    """One is closed between its prefill chunks, one between two verifications; their memory is used again."""
    text = decode(target, GREEDY, 30)
    kept, first = opened(target, StreamSpec(PROMPT, GREEDY, 80))
    half_read, half_told = next(STREAMS), opened(target, StreamSpec(PROMPTS[2], GREEDY, 200))[0]
    target.open(half_read, StreamSpec(PROMPTS[1], GREEDY, 60))
    outcomes = target.step([Prefill(half_read, 11), Verify(kept, tuple(text[1:4])), Verify(half_told, (5, 6, 7))])
    answer = [first, *committed(outcomes[1], text[1:4])]
    for stream in (half_read, half_told):
        target.close(stream)
    again, _ = opened(target, StreamSpec(PROMPTS[2], GREEDY, 200))
    while len(answer) < 30:
        answer += committed(
            target.step([Verify(again, (9,)), Verify(kept, tuple(text[len(answer) :][:2]))])[1], text[len(answer) :][:2]
        )
    assert answer[:30] == text
    for stream in (kept, again):
        target.close(stream)


def test_all_memory_serves_one_stream_after_another(target: TargetEngine) -> None:
    """What is admitted is there, however often streams have come and gone, and in whatever order."""
    third = min(target.info.kv_capacity // 3, target.info.max_context)
    text = decode(target, GREEDY, 12)
    for order in itertools.permutations(range(3)):
        streams = [opened(target, StreamSpec(PROMPT, GREEDY, third))[0] for _ in range(3)]
        for place in order:
            assert verified(target, streams[place], text[1:9]) == text[1:10]
            target.close(streams[place])


@SAMPLINGS
def test_cached_prefix_is_as_good_as_read_again(target: TargetEngine, sampling: Sampling) -> None:
    """The prefix is a prompt and a part of its answer, written by rounds with wrong drafts."""
    text = decode(target, sampling, 30)
    source, first = opened(target, StreamSpec(PROMPT, sampling, 90))
    answer, rng = [first], random.Random(1)
    while len(answer) < 20:
        answer += verified(target, source, spoilt(text[len(answer) :][:5], rng))
    assert answer == text[: len(answer)]
    target.retain(source, len(PROMPT) + 10)
    following = (*PROMPT, *text[:10], 7, 8)
    expected = decode(target, sampling, 20, following)
    for num_tokens in (len(PROMPT) + 10, len(PROMPT), 1):
        assert decode(target, sampling, 20, following, CachedPrefix(source, num_tokens)) == expected
    sharing, first = opened(target, StreamSpec(following, sampling, 90, prefix=CachedPrefix(source, 40)))
    target.close(source)  # the stream that began with it goes on
    assert [first, *verified(target, sharing, expected[1:5])] == expected[:6]
    target.close(sharing)


@SAMPLINGS
def test_prefix_of_an_open_stream_is_as_good_as_read_again(target: TargetEngine, sampling: Sampling) -> None:
    """The other stream goes on, and ends first; the last token of a prefix may be left to the first verification."""
    text = decode(target, sampling, 30)
    source, first = opened(target, StreamSpec(PROMPT, sampling, 90))
    answer = [first, *verified(target, source, text[1:12])]
    following = (*PROMPT, *text[: len(answer) - 1])
    num_tokens = min(len(following) - 1, len(following) // 16 * 16)
    sharing = next(STREAMS)
    target.open(sharing, StreamSpec(following, sampling, 90, prefix=CachedPrefix(source, num_tokens)))
    if num_tokens < len(following) - 1:
        (outcome,) = target.step([Prefill(sharing, len(following) - 1 - num_tokens)])
        assert outcome.next_token is None
    answer += verified(target, source, text[len(answer) :][:3])
    target.close(source)
    others = verified(target, sharing, text[len(following) - len(PROMPT) :][:8])
    assert [*following[len(PROMPT) :], *others] == text[: len(following) - len(PROMPT) + len(others)]
    assert answer == text[: len(answer)]
    target.close(sharing)


def test_likeliest_tokens_and_those_of_the_prompt_are_reported(target: TargetEngine) -> None:
    """In chunks as at once: the prompt's tokens but the first, and the best of their rows."""
    reports = []
    for chunk in (100, 9):
        stream = next(STREAMS)
        spec = StreamSpec(PROMPT, GREEDY, 60, logprobs=True, top_logprobs=3, prompt_logprobs=True)
        target.open(stream, spec)
        for done in range(0, len(PROMPT), chunk):
            (outcome,) = target.step([Prefill(stream, min(chunk, len(PROMPT) - done))])
        target.close(stream)
        logprobs, top = outcome.prompt_logprobs, outcome.prompt_top_logprobs
        assert (len(logprobs), len(top)) == (len(PROMPT) - 1, len(PROMPT) - 1)
        assert [len(each.tokens) for each in (*top, *outcome.top_logprobs)] == [3] * len(PROMPT)
        assert outcome.top_logprobs[0].tokens[0] == outcome.next_token
        reports.append((logprobs, top, outcome.next_token))
    assert reports[0] == reports[1]


def test_excluded_tokens_are_never_committed(target: TargetEngine) -> None:
    """A request's changes of the logits apply to every row of a round, and not to its log-probabilities."""
    text = decode(target, GREEDY, 6)
    sampling = Sampling(logit_changes=LogitChanges(bad_words=(BadWord((text[2],)),)))
    changed = decode(target, sampling, 6)
    assert text[2] not in changed
    stream, first = opened(target, StreamSpec(PROMPT, sampling, 60))
    answer = [first]
    while len(answer) < 6:
        answer += verified(target, stream, [*changed[len(answer) : len(answer) + 2], text[2], 5])
    assert answer[:6] == changed
    target.close(stream)


@SAMPLINGS
def test_logprobs_are_those_of_the_committed_tokens(target: TargetEngine, sampling: Sampling) -> None:
    text = decode(target, sampling, 8)

    def reported(drafts: Sequence[Sequence[int]]) -> list[float]:
        stream, logprobs = next(STREAMS), list[float]()
        target.open(stream, StreamSpec(PROMPT, sampling, 60, logprobs=True))
        works: list[Work] = [Prefill(stream, len(PROMPT)), *(Verify(stream, tuple(draft)) for draft in drafts)]
        for work in works:
            (outcome,) = target.step([work])
            assert len(outcome.logprobs) == outcome.num_accepted + 1
            logprobs += outcome.logprobs
        target.close(stream)
        return logprobs

    single = reported([()] * 7)
    assert all(logprob <= 0.0 for logprob in single)
    wrong = (text[5] + 1) % MIN_TOKENS
    assert reported([text[1:4], (wrong, 3), text[6:7]]) == pytest.approx(single[:8], abs=1e-5)


def test_rejection_rule_keeps_a_certain_token_and_replaces_an_impossible_one(target: TargetEngine) -> None:
    cold = Sampling(temperature=0.01, seed=3, rule=Rule.REJECTION)
    text = decode(target, GREEDY, 3)
    stream, first = opened(target, StreamSpec(PROMPT, cold, 60))
    assert first == text[0]
    assert verified(target, stream, text[1:2]) == text[1:3]
    (outcome,) = target.step([Verify(stream, ((decode(target, GREEDY, 4)[3] + 1) % MIN_TOKENS,))])
    assert outcome.num_accepted == 0
    target.close(stream)


def test_step_without_open_streams_of_another_kind_is_an_error(target: TargetEngine) -> None:
    """A stream is prefilled before it is verified, and stays within its capacity."""
    stream = next(STREAMS)
    target.open(stream, StreamSpec(PROMPT, GREEDY, 40))
    with pytest.raises(AssertionError, match="not completely prefilled"):
        target.step([Verify(stream, ())])
    with pytest.raises(AssertionError, match="prefill of 38"):
        target.step([Prefill(stream, 38)])
    target.step([Prefill(stream, 37)])
    with pytest.raises(AssertionError, match="41 tokens in a capacity of 40"):
        target.step([Verify(stream, (1, 2, 3))])
    target.close(stream)

"""What the engine vllm does beyond the contract of all engines (tests/engine/test_target_contract.py); needs vLLM."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from goodspeed.decoding.constraint import Constraint, ConstraintKind
from goodspeed.decoding.logit_changes import LogitChanges
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.interface import CachedPrefix, Outcome, Prefill, StreamSpec, TargetEngine, Verify
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.targets import target_engine
from goodspeed.models.tokenizer import Tokenizer

pytestmark = pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed: docs/guide/vllm.md")

PROMPT = tuple(range(3, 40))
KV_MB = 4


@pytest.fixture(scope="module")
def model(random_checkpoint: Callable[..., Path]) -> str:
    return str(random_checkpoint("qwen3", head_dim=32))


@pytest.fixture(scope="module")
def target(model: str) -> Any:
    options = {"max_num_seqs": 4, "max_num_batched_tokens": 256}
    return target_engine("vllm", TargetConfig(model=model, dtype="fp32", threads=1, kv_memory_mb=KV_MB, vllm=options))


def read(target: TargetEngine, stream: int, spec: StreamSpec) -> Outcome:
    """Open the stream and prefill all of it."""
    target.open(stream, spec)
    start = spec.prefix.num_tokens if spec.prefix else 0
    return target.step([Prefill(stream, len(spec.tokens) - start)])[0]


def text_of(
    target: TargetEngine, stream: int, spec: StreamSpec, drafts: Sequence[int] = (), length: int = 20
) -> list[int]:
    """The text, with `drafts` proposed as far as they are left."""
    outcome = read(target, stream, spec)
    text = [outcome.next_token]
    while len(text) < length:
        draft = tuple(drafts[len(text) : len(text) + 4])
        (outcome,) = target.step([Verify(stream, draft)])
        text += [*draft[: outcome.num_accepted], outcome.next_token]
    target.close(stream)
    return [token for token in text[:length] if token is not None]


def test_text_and_scores_are_those_of_the_torch_engine(target: TargetEngine, model: str) -> None:
    torch = target_engine("torch", TargetConfig(model=model, dtype="fp32", device="cpu", threads=1, kv_memory_mb=4))
    spec = StreamSpec(PROMPT, Sampling(), 80, logprobs=True, top_logprobs=3, prompt_logprobs=True)
    assert text_of(target, 1, spec) == text_of(torch, 1, spec)
    ours, expected = read(target, 2, spec), read(torch, 2, spec)
    assert ours.logprobs == pytest.approx(expected.logprobs, abs=1e-4)
    assert ours.prompt_logprobs == pytest.approx(expected.prompt_logprobs, abs=1e-4)
    for found, tops in (
        (ours.top_logprobs, expected.top_logprobs),
        (ours.prompt_top_logprobs, expected.prompt_top_logprobs),
    ):
        assert [top.tokens for top in found] == [top.tokens for top in tops]
        assert [top.logprobs for top in found] == [pytest.approx(top.logprobs, abs=1e-4) for top in tops]
    target.close(2)


@pytest.mark.parametrize("rule", [Rule.GREEDY, Rule.COUPLED])
def test_what_a_request_changes_in_the_logits_holds_with_drafts(target: TargetEngine, rule: Rule) -> None:
    changes = LogitChanges(frequency_penalty=1.5, repetition_penalty=1.3)
    sampling = Sampling(0.0 if rule is Rule.GREEDY else 0.9, seed=3, rule=rule, logit_changes=changes)
    spec = StreamSpec(PROMPT, sampling, 80)
    text = text_of(target, 11, spec)
    assert text_of(target, 12, spec, text) == text_of(target, 13, spec, [*text[:5], 7, 7, *text[7:]]) == text
    assert text != text_of(target, 14, StreamSpec(PROMPT, Sampling(sampling.temperature, seed=3, rule=rule), 80))


def test_constraint_holds_with_drafts(target: TargetEngine, model: str) -> None:
    sampling = Sampling(constraint=Constraint(ConstraintKind.REGEX, "[ab]{12}"))
    spec = StreamSpec(PROMPT, sampling, 100, end_tokens=target.info.end_tokens)
    text = text_of(target, 21, spec, length=13)
    assert text[-1] in target.info.end_tokens
    assert set(Tokenizer.load(Path(model)).decode(text[:-1])) <= set("ab")
    assert text_of(target, 22, spec, text, 13) == text_of(target, 23, spec, [5, *text[1:7], 5, *text[8:]], 13) == text


def test_step_may_be_larger_than_those_of_vllm(target: TargetEngine) -> None:
    """More streams than max_num_seqs, and more tokens than max_num_batched_tokens."""
    prompts = [tuple(3 + (i * stream) % 250 for i in range(90)) for stream in range(41, 47)]
    expected = [
        text_of(target, 51 + i, StreamSpec(prompt, Sampling(), 100), length=2) for i, prompt in enumerate(prompts)
    ]
    for stream, prompt in zip(range(61, 67), prompts, strict=True):
        target.open(stream, StreamSpec(prompt, Sampling(), 100))
    outcomes = target.step([Prefill(stream, 90) for stream in range(61, 67)])
    again = target.step(
        [Verify(stream, (tokens[1], 7)) for stream, tokens in zip(range(61, 67), expected, strict=True)]
    )
    assert [outcome.next_token for outcome in outcomes] == [tokens[0] for tokens in expected]
    assert all(outcome.num_accepted >= 1 for outcome in again)
    for stream in range(61, 67):
        target.close(stream)


def test_stream_fills_the_context_to_its_last_token(target: TargetEngine) -> None:
    length, room = target.info.max_context, 12
    spec = StreamSpec(tuple(3 + i % 200 for i in range(length - room)), Sampling(), length)
    text = text_of(target, 71, spec, length=room)
    stream, answer = 72, [read(target, 72, spec).next_token]
    while len(answer) < room:
        draft = tuple(text[len(answer) : len(answer) + 5])[: room - len(answer)]
        (outcome,) = target.step([Verify(stream, draft[: room - len(answer) - 1])])
        answer += [*draft[: outcome.num_accepted], outcome.next_token]
    assert answer == text
    target.close(stream)


def test_retained_sequence_gives_way_when_memory_is_short(target: TargetEngine) -> None:
    """Its stream may still be the source of a prefix, which is then read again."""
    expected = text_of(target, 31, StreamSpec(PROMPT, Sampling(), 80))
    read(target, 32, StreamSpec(PROMPT, Sampling(), 80))
    target.retain(32, 30)
    length = min(target.info.kv_capacity, target.info.max_context) - 2
    fillers = range(33, 33 + target.info.kv_capacity // target.info.kv_tokens(length))
    for stream in fillers:
        read(target, stream, StreamSpec(tuple(3 + (i + stream) % 200 for i in range(length)), Sampling(), length + 2))
    for stream in fillers:
        target.close(stream)
    assert text_of(target, 90, StreamSpec(PROMPT, Sampling(), 80, prefix=CachedPrefix(32, 30))) == expected
    target.close(32)


def test_error_of_vllm_in_a_step_passes_through_and_the_engine_goes_on(target: Any) -> None:
    expected = text_of(target, 101, StreamSpec(PROMPT, Sampling(), 80))
    (runner,) = target.core.collective_rpc(lambda worker: worker.model_runner)
    forward, runner.model.forward = runner.model.forward, None
    target.open(102, StreamSpec(PROMPT, Sampling(), 80))
    with pytest.raises(TypeError, match="NoneType"):
        target.step([Prefill(102, len(PROMPT))])
    runner.model.forward = forward
    target.close(102)
    assert text_of(target, 103, StreamSpec(PROMPT, Sampling(), 80)) == expected

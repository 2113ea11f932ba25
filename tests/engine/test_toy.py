"""The toy pair keeps the seams' promises: exact texts, a known acceptance rate, and no misuse unnoticed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from goodspeed.decoding.draft import DraftRequest
from goodspeed.decoding.logit_changes import BadWord, LogitChanges, TokenBias
from goodspeed.decoding.rules import reject
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.interface import CachedPrefix, Outcome, Prefill, StreamSpec, Verify
from goodspeed.engine.reference import ReferenceRequest, generate
from goodspeed.engine.toy_draft import ToyDraft
from goodspeed.engine.toy_model import END_TOKEN, ToyModel
from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.engine.toy_tokenizer import toy_tokenizer
from goodspeed.errors import CapacityError
from goodspeed.models.tokenizer import Tokenizer

PROMPT = tuple(b"once upon")
COUPLED = Sampling(0.9, seed=4, rule=Rule.COUPLED)


def opened(sampling: Sampling, *, capacity: int = 100, logprobs: bool = False) -> ToyTarget:
    target = ToyTarget()
    target.open(1, StreamSpec(PROMPT, sampling, capacity, logprobs))
    return target


def prefilled(sampling: Sampling, *, capacity: int = 100) -> ToyTarget:
    target = opened(sampling, capacity=capacity)
    target.step([Prefill(1, len(PROMPT))])
    return target


CHANGES = LogitChanges(1.2, 0.5, 0.5, (TokenBias(101, -100.0),), bad_words=(BadWord((97,)),))


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        COUPLED,
        Sampling(0.8, 9, 0.9, 4, Rule.COUPLED, 0.05),
        Sampling(logit_changes=CHANGES),
        Sampling(0.8, seed=4, rule=Rule.COUPLED, logit_changes=CHANGES),
    ],
)
def test_target_with_drafts_generates_the_baseline_text(sampling: Sampling) -> None:
    target, drafts = opened(sampling), ToyDraft(0.7)
    assert target.step([Prefill(1, 4)]) == [Outcome(1, 0, None)]
    first = target.step([Prefill(1, len(PROMPT) - 4)])[0].next_token
    assert first is not None
    text = [first]
    drafts.open(1, (*PROMPT, first), sampling)
    for window in range(8):
        draft = drafts.draft([DraftRequest(1, window)])[0]
        outcome = target.step([Verify(1, draft.tokens, draft.draft_probs)])[0]
        assert outcome.next_token is not None
        committed = (*draft.tokens[: outcome.num_accepted], outcome.next_token)
        drafts.commit(1, committed)
        text.extend(committed)
    assert tuple(text) == generate(ToyModel(), ReferenceRequest(PROMPT, len(text), sampling))


def test_greedy_choice_is_the_argmax_of_the_row() -> None:
    for model in (ToyModel(), ToyModel(vocab_size=5, seed=9)):
        for last in range(5):
            tokens = (3, 1, 4, last)
            assert model.top(tokens) == int(np.argmax(model.row(tokens)))


def test_streams_of_one_batch_do_not_touch_each_other() -> None:
    target = ToyTarget()
    prompts = [(7,), (8, 9), (10, 11, 12)]
    for i, prompt in enumerate(prompts):
        target.open(i, StreamSpec(prompt, Sampling(), 50))
    firsts = [outcome.next_token for outcome in target.step([Prefill(i, len(p)) for i, p in enumerate(prompts)])]
    seconds = [outcome.next_token for outcome in target.step([Verify(i, (1,) * i) for i in range(3)])]
    baseline = [generate(target.model, ReferenceRequest(prompt, 2)) for prompt in prompts]
    assert list(zip(firsts, seconds, strict=True)) == baseline


@pytest.mark.parametrize("rule", list(Rule))
@pytest.mark.parametrize("rate", [0.0, 0.3, 0.8, 1.0])
def test_acceptance_rate_is_the_configured_one(rule: Rule, rate: float) -> None:
    """Of the first draft token, over 600 streams, within 4 standard deviations (and the 16 bits of a weight).

    Under the rejection rule the target's least likely token is drafted in place of others; it is right now and then.
    """
    model = ToyModel(vocab_size=30, seed=2)
    drafts = ToyDraft(rate, model)
    num_accepted, num_lucky = 0, 2 if rule is Rule.REJECTION else 0
    for seed in range(600):
        sampling = Sampling(0.0 if rule is Rule.GREEDY else 1.0, seed=seed, rule=rule)
        prompt = (seed % 30, seed // 30)
        drafts.open(seed, prompt, sampling)
        draft = drafts.draft([DraftRequest(seed, 1)])[0]
        assert draft.confidences == (rate,)
        if rule is Rule.REJECTION:
            rows = np.stack([model.row(prompt)] * 2)
            num_accepted += reject(rows, draft.tokens, draft.draft_probs, sampling, len(prompt))[0]
        else:
            num_accepted += draft.tokens[0] == model.choice(prompt, sampling)
    assert num_accepted / 600 == pytest.approx(rate, abs=4 * np.sqrt(rate * (1 - rate) / 600) + num_lucky / 600)


def test_acceptance_at_a_position_does_not_depend_on_the_position_before() -> None:
    """Lag-1 correlation of accepted or not along 3000 positions, within 4 standard deviations of 0."""
    model, sampling, tokens = ToyModel(), Sampling(), list(PROMPT)
    drafts = ToyDraft(0.6, model)
    drafts.open(0, tokens, sampling)
    kept = []
    for _ in range(3000):
        choice = model.top(tokens)
        kept.append(drafts.draft([DraftRequest(0, 1)])[0].tokens == (choice,))
        drafts.commit(0, (choice,))
        tokens.append(choice)
    series = np.array(kept, dtype=float)
    assert abs(np.corrcoef(series[:-1], series[1:])[0, 1]) < 4 / np.sqrt(3000)
    assert series.mean() == pytest.approx(0.6, abs=4 * np.sqrt(0.24 / 3000))


def test_draft_ends_before_survival_falls_below_the_minimum() -> None:
    drafts = ToyDraft(0.5)
    drafts.open(1, PROMPT, Sampling())
    lengths = [len(drafts.draft([DraftRequest(1, 8, survival)])[0].tokens) for survival in (0.0, 0.3, 0.25, 0.2, 0.6)]
    assert lengths == [8, 1, 2, 2, 0]


def test_logprobs_are_the_targets_before_temperature_and_truncation() -> None:
    target = ToyTarget()
    target.open(1, StreamSpec(PROMPT, Sampling(0.5, 3, rule=Rule.COUPLED), 100, logprobs=True))
    outcome = target.step([Prefill(1, len(PROMPT))])[0]
    row = target.model.row(PROMPT).astype(np.float64)
    assert outcome.next_token is not None
    assert outcome.logprobs == pytest.approx([row[outcome.next_token] - np.log(np.exp(row).sum())])


def test_logprobs_of_the_prompt_come_with_its_last_tokens() -> None:
    target = ToyTarget()
    target.open(1, StreamSpec(PROMPT, Sampling(), 100, logprobs=True, top_logprobs=2, prompt_logprobs=True))
    assert target.step([Prefill(1, 4)]) == [Outcome(1, 0, None)]
    outcome = target.step([Prefill(1, len(PROMPT) - 4)])[0]
    rows = target.model.logits(PROMPT).astype(np.float64)
    rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
    assert outcome.prompt_logprobs == pytest.approx(
        [row[token] for row, token in zip(rows[:-1], PROMPT[1:], strict=True)]
    )
    tops = [*outcome.prompt_top_logprobs, *outcome.top_logprobs]
    assert [top.tokens for top in tops] == [tuple(np.argsort(-row)[:2].tolist()) for row in rows]
    assert [top.logprobs[0] for top in tops] == pytest.approx(rows.max(axis=1))


MISUSES: dict[str, Callable[[], object]] = {
    "verify before the prefix is prefilled": lambda: opened(Sampling()).step([Verify(1, ())]),
    "prefill beyond the prefix": lambda: opened(Sampling()).step([Prefill(1, len(PROMPT) + 1)]),
    "prefill of nothing": lambda: opened(Sampling()).step([Prefill(1, 0)]),
    "more tokens than reserved": lambda: prefilled(Sampling(), capacity=12).step([Verify(1, (1, 2, 3))]),
    "unknown stream": lambda: prefilled(Sampling()).step([Verify(2, ())]),
    "two pieces of work for one stream": lambda: prefilled(Sampling()).step([Verify(1, ()), Verify(1, ())]),
    "an empty batch": lambda: prefilled(Sampling()).step([]),
    "a token outside the vocabulary": lambda: prefilled(Sampling()).step([Verify(1, (4000,))]),
    "closing what is not open": lambda: prefilled(Sampling()).close(2),
    "a cached prefix of another text": lambda: retained(4).open(
        2, StreamSpec((9, *PROMPT[1:]), COUPLED, 50, prefix=CachedPrefix(1, 2))
    ),
    "a cached prefix without a token to run": lambda: retained(len(PROMPT)).open(
        2, StreamSpec(PROMPT, COUPLED, 50, prefix=CachedPrefix(1, len(PROMPT)))
    ),
    "retaining tokens that were not run": lambda: retained(len(PROMPT) + 1),
    "retaining a stream before it is prefilled": lambda: opened(Sampling()).retain(1, 1),
}


def retained(num_tokens: int) -> ToyTarget:
    """Of the prompt and its first token."""
    target = prefilled(Sampling())
    target.retain(1, num_tokens)
    return target


def test_a_cached_prefix_is_not_prefilled_again() -> None:
    target = retained(len(PROMPT))
    assert (target.num_open, target.num_retained) == (0, len(PROMPT))
    prompt = (*PROMPT, 9, 8)
    target.open(2, StreamSpec(prompt, Sampling(), 50, prefix=CachedPrefix(1, len(PROMPT))))
    target.close(1)
    (outcome,) = target.step([Prefill(2, 2)])
    assert (outcome.next_token,) == generate(target.model, ReferenceRequest(prompt, 1))
    assert target.num_retained == 0


@pytest.mark.parametrize("misuse", MISUSES.values(), ids=MISUSES.keys())
def test_misuse_of_the_seam_is_noticed(misuse: Callable[[], object]) -> None:
    with pytest.raises(AssertionError):
        misuse()


def test_a_stream_key_is_never_reused() -> None:
    target = prefilled(Sampling())
    target.close(1)
    assert target.num_open == 0
    with pytest.raises(AssertionError, match="used twice"):
        target.open(1, StreamSpec(PROMPT, Sampling(), 100))


def test_tokenizer_serves_the_toy(tmp_path: Path) -> None:
    toy_tokenizer(tmp_path)
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer.vocab_size == toy_info().vocab_size
    assert tokenizer.end_tokens == toy_info().end_tokens == (END_TOKEN,)
    assert tokenizer.encode("häh\n") == list("häh\n".encode())
    assert tokenizer.decode(tokenizer.encode("héllo €\x00")) == "héllo €\x00"
    assert tokenizer.encode_chat([{"role": "user", "content": "hi"}])[-1] == ord("\n")
    answer = generate(ToyModel(), ReferenceRequest(PROMPT, 30))
    assert set(tokenizer.decode(answer)) <= set(" abcdefghijklmnopqrstuvwxyz")


def test_more_memory_than_there_is_raises_an_error_when_it_is_written() -> None:
    target = ToyTarget(toy_info(kv_capacity=len(PROMPT) + 1))
    target.open(1, StreamSpec(PROMPT, Sampling(), len(PROMPT) + 5))
    target.step([Prefill(1, len(PROMPT))])
    target.step([Verify(1, ())])
    with pytest.raises(CapacityError, match=f"1 KV tokens requested, 0 of {len(PROMPT) + 1} are free"):
        target.step([Verify(1, ())])


def test_a_stream_is_continued_without_committing_its_last_token_again() -> None:
    target, text = ToyTarget(), [*PROMPT]
    target.open(1, StreamSpec(PROMPT, COUPLED, 50))
    text += [outcome.next_token or 0 for outcome in target.step([Prefill(1, len(PROMPT))])]
    text += [outcome.next_token or 0 for outcome in target.step([Verify(1, ())])]
    expected = target.step([Verify(1, ())])[0].next_token
    target.open(2, StreamSpec(tuple(text), COUPLED, 50, prefix=CachedPrefix(1, 2)))  # of an open stream
    assert target.step([Prefill(2, len(text) - 3)])[0].next_token is None
    assert target.step([Verify(2, ())])[0].next_token == expected

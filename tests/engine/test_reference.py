"""Speculation in one process writes the target's own text, token for token, and a broken rule does not."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goodspeed.decoding.draft import SparseProbs
from goodspeed.decoding.logit_changes import BadWord, LogitChanges, TokenBias
from goodspeed.decoding.logits_processor import LogitsProcessor, processed
from goodspeed.decoding.rules import choose, verify
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine import reference
from goodspeed.engine.reference import ReferenceRequest, generate, speculate, truncate_at_end
from goodspeed.engine.toy_draft import ToyDraft
from goodspeed.engine.toy_model import ToyModel

MODEL = ToyModel(vocab_size=23, seed=3)
PROMPT = (4, 8, 15)
token_ids = st.integers(0, 22)
CHANGES = st.none() | st.builds(
    LogitChanges,
    repetition_penalty=st.sampled_from([0.8, 1.0, 1.5]),
    frequency_penalty=st.sampled_from([-0.5, 0.0, 2.0]),
    presence_penalty=st.sampled_from([-0.5, 0.0, 2.0]),
    logit_bias=st.lists(st.builds(TokenBias, token_ids, st.floats(-9.0, 9.0)), max_size=3).map(tuple),
    min_tokens=st.integers(0, 9),
    bad_words=st.lists(st.builds(BadWord, st.lists(token_ids, min_size=1, max_size=2).map(tuple)), max_size=9).map(
        tuple
    ),
    allowed_tokens=st.just(()) | st.sets(token_ids, min_size=1).map(tuple),
)
SAMPLINGS = st.one_of(
    st.builds(Sampling, logit_changes=CHANGES),
    st.builds(
        Sampling,
        temperature=st.floats(0.1, 3.0),
        top_k=st.integers(0, 24),
        top_p=st.floats(0.1, 1.0),
        seed=st.integers(0, 2**64 - 1),
        rule=st.just(Rule.COUPLED),
        min_p=st.just(0.0) | st.floats(0.0, 1.0),
        logit_changes=CHANGES,
    ),
)
Rows = npt.NDArray[np.float32]
VerifyRule = Callable[[Rows, Sequence[int], Sequence[SparseProbs], Sampling, int], tuple[int, int]]


def joined(chunks: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(token for chunk in chunks for token in chunk)


@given(SAMPLINGS, st.integers(0, 8), st.floats(0.0, 1.0), st.integers(0, 100), st.integers(1, 20))
@settings(max_examples=80, deadline=None)
def test_text_is_the_targets_whatever_drafter_and_window(
    sampling: Sampling, window: int, acceptance_rate: float, draft_seed: int, max_tokens: int
) -> None:
    request = ReferenceRequest(PROMPT, max_tokens, sampling)
    draft = ToyDraft(acceptance_rate, MODEL, draft_seed)
    assert joined(list(speculate(MODEL, draft, request, window))) == generate(MODEL, request)


@given(SAMPLINGS, st.sets(st.integers(0, 22), max_size=6), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_text_ends_with_the_first_end_token(sampling: Sampling, end_tokens: set[int], window: int) -> None:
    request = ReferenceRequest(PROMPT, 12, sampling, tuple(end_tokens))
    text = joined(list(speculate(MODEL, ToyDraft(0.9, MODEL), request, window)))
    assert text == generate(MODEL, request) == truncate_at_end(request, text)
    if sampling.logit_changes is None:  # else min_tokens depends on the end tokens
        assert text == truncate_at_end(request, generate(MODEL, ReferenceRequest(PROMPT, 12, sampling)))


def test_a_resumed_text_goes_on_as_if_nothing_had_happened() -> None:
    sampling = Sampling(1.3, seed=11, rule=Rule.COUPLED)
    whole = generate(MODEL, ReferenceRequest(PROMPT, 20, sampling))
    rest = speculate(MODEL, ToyDraft(0.6, MODEL), ReferenceRequest(PROMPT + whole[:9], 11, sampling), 4)
    assert whole[:9] + joined(list(rest)) == whole


def forgetful(row: Rows, _drafted: Sequence[int], processors: Sequence[LogitsProcessor]) -> Rows:
    """A planted bug: every row as after the committed text."""
    return np.concatenate([processed(each[np.newaxis], (), processors) for each in row])


def test_changes_that_forget_the_draft_tokens_change_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    request = ReferenceRequest(PROMPT, 20, Sampling(logit_changes=LogitChanges(presence_penalty=2.0)))
    expected = generate(MODEL, request)
    monkeypatch.setattr(reference, "processed", forgetful)
    assert joined(list(speculate(MODEL, ToyDraft(0.9, MODEL), request, 4))) != expected


def test_perfect_drafts_are_committed_window_plus_one_at_a_time() -> None:
    for sampling in (Sampling(), Sampling(1.0, seed=2, rule=Rule.COUPLED)):
        rounds = list(speculate(MODEL, ToyDraft(1.0, MODEL), ReferenceRequest(PROMPT, 15, sampling), 4))
        assert [len(committed) for committed in rounds] == [5, 5, 5]


def shifted_noise(
    rows: Rows, drafted: Sequence[int], probs: Sequence[SparseProbs], sampling: Sampling, first_position: int
) -> tuple[int, int]:
    return verify(rows, drafted, probs, sampling, first_position + 1)


def noise_by_row(
    rows: Rows, drafted: Sequence[int], probs: Sequence[SparseProbs], sampling: Sampling, _first_position: int
) -> tuple[int, int]:
    return verify(rows, drafted, probs, sampling, 0)


def trusting(
    rows: Rows, drafted: Sequence[int], _probs: Sequence[SparseProbs], sampling: Sampling, first_position: int
) -> tuple[int, int]:
    last = choose(rows[-1:], sampling, first_position + len(drafted))
    return len(drafted), int(last[0])


def next_from_the_last_row(
    rows: Rows, drafted: Sequence[int], probs: Sequence[SparseProbs], sampling: Sampling, first_position: int
) -> tuple[int, int]:
    num_accepted, _ = verify(rows, drafted, probs, sampling, first_position)
    return num_accepted, int(choose(rows[-1:], sampling, first_position + num_accepted)[0])


@pytest.mark.parametrize("broken", [shifted_noise, noise_by_row, trusting, next_from_the_last_row])
def test_planted_bugs_change_the_text(broken: VerifyRule, monkeypatch: pytest.MonkeyPatch) -> None:
    request = ReferenceRequest(PROMPT, 20, Sampling(1.0, seed=5, rule=Rule.COUPLED))
    monkeypatch.setattr(reference, "verify", broken)
    assert joined(list(speculate(MODEL, ToyDraft(0.6, MODEL), request, 4))) != generate(MODEL, request)

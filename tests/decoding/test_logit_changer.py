"""A request's changes of the logits: the meaning of each field, worked out by hand."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodspeed.decoding.logit_changer import LogitChanger
from goodspeed.decoding.logit_changes import BadWord, LogitChanges, TokenBias
from goodspeed.decoding.logits_processor import processed
from goodspeed.errors import RequestError

Rows = npt.NDArray[np.float32]

VOCAB_SIZE = 6
ROW = np.array([2.0, -2.0, 4.0, 1.0, 0.5, 3.0], dtype=np.float32)
OUT = -np.inf
tokens = st.integers(0, VOCAB_SIZE - 1)


def changed(
    changes: LogitChanges, prompt: tuple[int, ...] = (0, 1), answer: tuple[int, ...] = (), drafted: tuple[int, ...] = ()
) -> Rows:
    """Rows after the answer and each draft token, which all were ROW; token 5 ends the answer."""
    changer = LogitChanger(changes, prompt, answer, (5,))
    return processed(np.stack([ROW] * (len(drafted) + 1)), drafted, (changer,))


@pytest.mark.parametrize(
    ("changes", "answer", "expected"),
    [
        (LogitChanges(), (2, 2), [2, -2, 4, 1, 0.5, 3]),
        (LogitChanges(repetition_penalty=2.0), (2, 2), [1, -4, 2, 1, 0.5, 3]),
        (LogitChanges(frequency_penalty=0.5), (2, 2, 3), [2, -2, 3, 0.5, 0.5, 3]),
        (LogitChanges(presence_penalty=0.5), (2, 2, 3), [2, -2, 3.5, 0.5, 0.5, 3]),
        (LogitChanges(presence_penalty=-1.0), (2,), [2, -2, 5, 1, 0.5, 3]),
        (LogitChanges(2.0, 0.5, 1.0), (2, 2), [1, -4, 0, 1, 0.5, 3]),
        (LogitChanges(logit_bias=(TokenBias(1, 100.0), TokenBias(2, -4.0))), (), [2, 98, 0, 1, 0.5, 3]),
        (LogitChanges(2.0, logit_bias=(TokenBias(0, 6.0),)), (), [4, -4, 4, 1, 0.5, 3]),
        (LogitChanges(min_tokens=2), (2,), [2, -2, 4, 1, 0.5, OUT]),
        (LogitChanges(min_tokens=2), (2, 2), [2, -2, 4, 1, 0.5, 3]),
        (LogitChanges(allowed_tokens=(3, 5)), (), [OUT, OUT, OUT, 1, OUT, 3]),
        (LogitChanges(bad_words=(BadWord((4,)),)), (), [2, -2, 4, 1, OUT, 3]),
        (LogitChanges(bad_words=(BadWord((3, 2)),)), (3,), [2, -2, OUT, 1, 0.5, 3]),
        (LogitChanges(bad_words=(BadWord((3, 2)),)), (3, 0), [2, -2, 4, 1, 0.5, 3]),
        (LogitChanges(bad_words=(BadWord((1, 2)),)), (), [2, -2, 4, 1, 0.5, 3]),
    ],
)
def test_each_change_has_the_meaning_of_vllm(
    changes: LogitChanges, answer: tuple[int, ...], expected: list[float]
) -> None:
    assert changed(changes, answer=answer)[0].tolist() == expected


def test_an_exclusion_that_leaves_no_token_has_no_effect() -> None:
    changes = LogitChanges(min_tokens=9, bad_words=(BadWord((3,)),), allowed_tokens=(3, 5))
    assert changed(changes)[0].tolist() == [OUT, OUT, OUT, OUT, OUT, 3]


all_changes = st.builds(
    LogitChanges,
    repetition_penalty=st.sampled_from([1.0, 1.3]),
    frequency_penalty=st.sampled_from([0.0, 0.7]),
    presence_penalty=st.sampled_from([0.0, -0.4]),
    min_tokens=st.integers(0, 6),
    bad_words=st.lists(st.builds(BadWord, st.lists(tokens, min_size=1, max_size=3).map(tuple)), max_size=2).map(tuple),
)
texts = st.lists(tokens, max_size=5).map(tuple)


@given(all_changes, texts, texts, texts)
def test_rows_after_draft_tokens_are_those_after_the_same_committed_tokens(
    changes: LogitChanges, prompt: tuple[int, ...], answer: tuple[int, ...], drafted: tuple[int, ...]
) -> None:
    rows = changed(changes, prompt, answer, drafted)
    for i, row in enumerate(rows):
        assert row.tolist() == changed(changes, prompt, answer + drafted[:i])[0].tolist()


@given(all_changes, texts, texts, texts)
def test_rejected_draft_tokens_leave_nothing_behind(
    changes: LogitChanges, answer: tuple[int, ...], rejected: tuple[int, ...], committed: tuple[int, ...]
) -> None:
    changer = LogitChanger(changes, (0, 1), answer, (5,))
    changer.apply(np.stack([ROW] * (len(rejected) + 1)), rejected)
    changer.commit(committed)
    assert processed(ROW[np.newaxis], (), (changer,)).tolist() == changed(changes, (0, 1), answer + committed).tolist()


def test_the_engines_logits_stay_as_they_are() -> None:
    logits = np.stack([ROW])
    processed(logits, (), (LogitChanger(LogitChanges(logit_bias=(TokenBias(1, 5.0),)), (0,), (), ()),))
    assert logits[0].tolist() == ROW.tolist()


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"presence_penalty": 2.5}, "presence_penalty is 2.5, expected -2 to 2"),
        ({"frequency_penalty": float("nan")}, "frequency_penalty is nan, expected -2 to 2"),
        ({"repetition_penalty": 0.0}, "repetition_penalty is 0, expected 0.01 to 100"),
        ({"logit_bias": (TokenBias(7, 101.0),)}, "logit_bias of token 7 is 101, expected -100 to 100"),
        ({"min_tokens": -1}, "min_tokens is -1, expected 0 or more"),
        ({"bad_words": (BadWord(()),)}, "bad_words has an empty word"),
    ],
)
def test_values_out_of_range_are_refused_by_name(wrong: dict[str, object], reason: str) -> None:
    with pytest.raises(RequestError, match=reason) as caught:
        LogitChanges(**wrong)  # type: ignore[arg-type]
    assert caught.value.field == reason.split(maxsplit=1)[0]

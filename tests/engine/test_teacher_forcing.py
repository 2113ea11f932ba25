"""Teacher forcing: acceptance at every position of given answers."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.reference import GREEDY, ReferenceRequest, generate
from goodspeed.engine.teacher_forcing import teacher_force, teacher_force_all, teacher_forced_trace
from goodspeed.engine.toy_draft import ToyDraft
from goodspeed.engine.toy_model import ToyModel
from goodspeed.errors import ConfigError
from goodspeed.records.acceptance_trace import RIGHT, WRONG

ACCEPTANCE_RATE = 0.7
PROMPT = tuple(b"prompt number 0")


@dataclass(frozen=True)
class GivenAnswer:
    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    sampling: Sampling = GREEDY
    target_probs: tuple[float, ...] = ()


def answers(lengths: Sequence[int]) -> list[GivenAnswer]:
    prompts = [(97, 98, 99 + i) for i in range(len(lengths))]
    return [
        GivenAnswer(prompt, generate(ToyModel(), ReferenceRequest(prompt, length)))
        for prompt, length in zip(prompts, lengths, strict=True)
    ]


def test_depth_counts_the_right_tokens_directly_before_a_position() -> None:
    written = GivenAnswer(PROMPT, tuple(b"what the target wrote"))
    (traced,) = teacher_forced_trace(ToyDraft(ACCEPTANCE_RATE), [written], "ann")
    assert set(traced.draft_outcomes) <= {RIGHT, WRONG}
    for position, depth in enumerate(traced.depths):
        before = traced.draft_outcomes[:position]
        assert depth == len(before) - len(before.rstrip(RIGHT))


def test_a_trace_of_answers_under_the_rejection_rule_is_refused() -> None:
    written = GivenAnswer(PROMPT, (1, 2), Sampling(1.0, rule=Rule.REJECTION))
    with pytest.raises(ConfigError, match="rejection"):
        list(teacher_forced_trace(ToyDraft(ACCEPTANCE_RATE), [written], "ann"))


def test_results_come_in_the_order_of_the_answers_whichever_completes_first() -> None:
    given = answers([40, 3, 20])
    completed = [forced.number for forced in teacher_force(ToyDraft(ACCEPTANCE_RATE), given, num_streams=3)]
    assert completed == [1, 2, 0]
    assert [forced.answer for forced in teacher_force_all(ToyDraft(ACCEPTANCE_RATE), given, 3)] == given


def test_acceptance_does_not_depend_on_how_many_streams_run_together() -> None:
    given = answers([40, 3, 20])
    single, batched = (teacher_force_all(ToyDraft(ACCEPTANCE_RATE), given, num) for num in (1, 3))
    assert [forced.acceptance_probs for forced in single] == [forced.acceptance_probs for forced in batched]


def test_a_trace_and_probabilities_agree_from_the_second_token_on() -> None:
    given = answers([60])
    (forced,) = teacher_force_all(ToyDraft(ACCEPTANCE_RATE), given, 1)
    (trace,) = teacher_forced_trace(ToyDraft(ACCEPTANCE_RATE), given, "ann")
    assert [mark == RIGHT for mark in trace.draft_outcomes[1:]] == [prob == 1.0 for prob in forced.acceptance_probs]
    assert 0 < sum(forced.acceptance_probs) < len(forced.acceptance_probs)

"""The draft tokens that one batch may hold."""

import pytest

from goodspeed.verifier.core.draft_budget import MAX_UNDRAFTED, DraftBudget, automatic_budget
from goodspeed.verifier.core.timing.step_time import StepTimeModel


def step_time(base_s: float, token_s: float) -> StepTimeModel:
    found = StepTimeModel()
    for num_tokens in (1, 9, 30, 64) * 4:
        found.observe(num_tokens, 1, base_s + token_s * num_tokens)
    return found


def test_a_configured_budget_stays() -> None:
    assert DraftBudget(7).tokens(64, step_time(0.02, 0.02)) == 7


@pytest.mark.parametrize(("num_streams", "num_tokens"), [(0, 24), (1, 24), (6, 24), (16, 64), (128, 512)])
def test_the_automatic_budget_grows_with_the_streams(num_streams: int, num_tokens: int) -> None:
    assert DraftBudget(0).tokens(num_streams, StepTimeModel()) == num_tokens
    assert automatic_budget(num_streams) == num_tokens


def test_the_automatic_budget_does_not_double_a_step() -> None:
    assert DraftBudget(0).tokens(4, step_time(0.014, 0.001)) == 18


def test_every_stream_may_have_a_token_however_steep_the_step_is() -> None:
    assert DraftBudget(0).tokens(8, step_time(0.001, 0.01)) == 8


def test_no_more_is_granted_than_batches_hold() -> None:
    budget = DraftBudget(0)
    assert budget.granted(16, StepTimeModel()) == 64
    for _ in range(50):
        budget.on_batch(20, 10)
    assert budget.granted(16, StepTimeModel()) == 32
    assert budget.tokens(16, StepTimeModel()) == 64


def num_undrafted_before_trial(budget: DraftBudget) -> int:
    for number in range(2 * MAX_UNDRAFTED):
        if budget.granted(1, StepTimeModel()):
            return number
        budget.on_undrafted()
    raise AssertionError("the engine is not tried again")


def test_nothing_is_granted_where_batches_verify_nothing_and_trials_become_rare() -> None:
    """Drafts would only be waited for. A batch without drafts is no evidence that more would pay."""
    budget = DraftBudget(0)
    intervals = []
    for _ in range(10):
        budget.on_batch(0, 1)
        intervals.append(num_undrafted_before_trial(budget))
    assert intervals == [4, 8, 16, 32, 64, 128, 256, 256, 256, 256]


def test_a_trial_that_pays_ends_the_pause() -> None:
    budget = DraftBudget(0)
    for _ in range(10):
        budget.on_batch(0, 1)
    num_undrafted_before_trial(budget)
    budget.on_batch(24, 1)
    assert budget.granted(1, StepTimeModel()) == 24


def test_batches_without_drafts_leave_what_was_learned_of_others() -> None:
    budget = DraftBudget(0)
    budget.on_batch(20, 10)
    for _ in range(2 * MAX_UNDRAFTED):
        budget.on_undrafted()
    assert budget.granted(16, StepTimeModel()) == 32

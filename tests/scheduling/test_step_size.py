"""How many draft tokens a step verifies."""

from collections.abc import Callable

from goodspeed.scheduling.step_size import StepSize, best_num_tokens

VALUES = [0.6] * 64 + [0.3] * 64 + [0.1] * 64


def sizes(round_s: Callable[[int], float]) -> list[StepSize]:
    return [StepSize(num_drafted, round_s(num_drafted)) for num_drafted in range(0, 193, 4)]


def test_a_step_ends_before_its_time_jumps() -> None:
    found = best_num_tokens(VALUES, 64.0, sizes(lambda num_tokens: 0.05 if num_tokens > 70 else 0.03))
    assert 64 <= found <= 70
    assert best_num_tokens(VALUES, 64.0, sizes(lambda _: 0.03)) == 192


def test_a_step_passes_a_jump_behind_which_much_is_flat() -> None:
    assert best_num_tokens(VALUES, 64.0, sizes(lambda num_tokens: 0.034 if num_tokens > 70 else 0.03)) == 192


def test_a_step_has_no_more_draft_tokens_than_there_are_or_may_be() -> None:
    assert best_num_tokens([], 1.0, [StepSize(0, 0.0), StepSize(8, 0.0)]) == 0
    assert best_num_tokens([0.2, 0.9, 0.9], 1.0, [StepSize(0, 1.0), StepSize(2, 1.0)]) == 2


def test_too_few_drafts_to_reach_the_next_good_size_are_cut_to_the_last_one() -> None:
    saw = [StepSize(0, 0.025), StepSize(64, 0.027), StepSize(80, 0.048), StepSize(192, 0.029)]
    assert best_num_tokens(VALUES, 64.0, saw) == 192
    assert best_num_tokens(VALUES[:80], 64.0, saw) == 64

"""When a client with local rounds is asked for a shadow draft."""

import pytest

from goodspeed.scheduling.exploration import MAX_INTERVAL, NEW_PROMPT_REQUESTS, ShadowSchedule


def rounds_asked(schedule: ShadowSchedule, num_rounds: int, num_useful: int | None, chance: float = 0.01) -> list[int]:
    """The local rounds, from 1 on, in which the client is asked."""
    asked = []
    for number in range(1, num_rounds + 1):
        schedule.on_round(0)
        if schedule.is_due and schedule.ask(num_useful, chance):
            asked.append(number)
    return asked


def test_a_client_that_could_come_back_is_asked_once_in_eight_rounds() -> None:
    assert rounds_asked(ShadowSchedule(), 47, num_useful=2) == [1, 3, 7, 15, 23, 31, 39, 47]


def test_a_client_that_no_acceptance_could_bring_back_is_asked_less_and_less() -> None:
    assert rounds_asked(ShadowSchedule(), 1023, num_useful=None) == [2**i - 1 for i in range(1, 11)]


def test_a_hopeless_client_is_asked_within_eight_rounds_after_that_has_changed() -> None:
    schedule = ShadowSchedule()
    rounds_asked(schedule, 600, num_useful=None)
    assert rounds_asked(schedule, MAX_INTERVAL, num_useful=2) != []


@pytest.mark.parametrize(("chance", "is_asked"), [(0.01, True), (0.5, False)])
def test_a_useful_shadow_draft_that_was_unlikely_is_followed_by_another(chance: float, is_asked: bool) -> None:
    schedule = ShadowSchedule()
    rounds_asked(schedule, 39, num_useful=2, chance=chance)
    schedule.on_shadow_draft(1)
    assert rounds_asked(schedule, 1, num_useful=2, chance=chance) == []
    schedule.on_shadow_draft(2)
    assert bool(rounds_asked(schedule, 1, num_useful=2, chance=chance)) is is_asked


def test_after_a_grant_the_first_local_round_asks() -> None:
    schedule = ShadowSchedule()
    rounds_asked(schedule, 40, num_useful=2)
    schedule.on_round(4)
    assert rounds_asked(schedule, 1, num_useful=2) == [1]


def test_a_new_prompt_is_asked_in_its_first_local_round() -> None:
    schedule = ShadowSchedule()
    rounds_asked(schedule, 600, num_useful=None)
    schedule.on_stream()
    assert rounds_asked(schedule, 7, num_useful=None) == [1]


def test_a_new_prompt_that_may_be_good_enough_is_asked_as_soon_as_it_has_answered() -> None:
    schedule = ShadowSchedule()
    rounds_asked(schedule, 600, num_useful=2)
    schedule.on_stream()
    asked = rounds_asked(schedule, 40, num_useful=2, chance=0.5)
    assert asked[:NEW_PROMPT_REQUESTS] == list(range(1, NEW_PROMPT_REQUESTS + 1))
    assert asked[-1] - asked[-2] == MAX_INTERVAL
    schedule.on_stream()
    assert len(rounds_asked(schedule, 40, num_useful=2, chance=0.01)) < 9

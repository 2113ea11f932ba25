"""What drafting past a proposal that is under way saves of a round, and whether that is worth its energy."""

from typing import Final

from msgspec import Struct

MIN_SAVING: Final = 0.03
"""The least expected saving, as a share of the round, for which a drafter drafts ahead."""


class RunAheadView(Struct, frozen=True, gc=False):
    """A round in which the drafter may draft past its proposal. Times are smoothed."""

    hit_probability: float
    """Pr(the whole proposal is accepted and the target's own token is guessed)."""
    drafting_s_per_token: float
    under_way_s: float
    """From a proposal sent to its verdict received; 0: not known."""
    num_next: int
    """Expected length of the next proposal."""


def saving_s(view: RunAheadView) -> float:
    """Expected seconds that the round is shorter; negative if it is longer.

    A hit saves the drafting of the tokens that follow the guess and are drafted before the verdict comes. If drafting
    is not complete by then, a miss costs half a token on average: the rest of the engine's call.
    """
    token_s = view.drafting_s_per_token
    if token_s <= 0.0:
        return 0.0
    num_in_time = view.under_way_s / token_s - 1.0
    saved_s = view.hit_probability * token_s * max(0.0, min(float(view.num_next), num_in_time))
    delay_s = (1.0 - view.hit_probability) * token_s / 2.0 if num_in_time < view.num_next else 0.0
    return saved_s - delay_s


def pays(view: RunAheadView) -> bool:
    """Whether the expected saving is MIN_SAVING of the round or more."""
    saved_s = saving_s(view)
    return saved_s > 0.0 and saved_s >= MIN_SAVING * (view.under_way_s + view.num_next * view.drafting_s_per_token)

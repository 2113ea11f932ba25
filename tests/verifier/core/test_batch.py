"""What a step has cost."""

from goodspeed.decoding.draft import DraftRequest
from goodspeed.verifier.core.batch import Turn, num_draft_steps


def test_a_draft_that_ends_early_has_cost_one_step_more_than_it_has_tokens() -> None:
    turns = [Turn(stream, co_located=DraftRequest(stream, 4)) for stream in range(3)] + [Turn(9)]
    assert num_draft_steps(turns, [(5, 6, 7, 8), (5, 6), (), ()]) == 4 + 3 + 1

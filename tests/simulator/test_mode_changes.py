"""The default policies follow what drafts are worth."""

import pytest

from goodspeed.simulator.result import AnswerRecord
from goodspeed.simulator.world import simulate
from goodspeed.testing.scenarios import drafter_tier, small_scenario

PHASE, NUM_TOKENS, STEP_S = 6, 60, 0.020


def phases(num_clients: int) -> list[list[AnswerRecord]]:
    """Answers while 8 of 10 draft tokens are right, then 1 of 10, then 8 of 10 again; of clients near the verifier."""
    tiers = [
        drafter_tier(
            f"client{i}",
            count=1,
            link={"rtt_ms": 1.0 + 3.0 * i},
            latency={"linear": {"base_s": 0.0005, "token_s": 0.0}},
            acceptance={"model": "drifting", "drifting": {"rates": (0.8, 0.1), "num_answers": PHASE}},
            workload={
                "closed": {"think_s": 0.0},
                "prompt": {"distribution": "fixed", "fixed": {"num_tokens": 8}},
                "answer": {"distribution": "fixed", "fixed": {"num_tokens": NUM_TOKENS}},
            },
        )
        for i in range(num_clients)
    ]
    verifier = {"latency": {"linear": {"base_s": STEP_S, "token_s": 0.00005}}}
    answers = simulate(small_scenario(*tiers, verifiers=[verifier], duration_s=16.0), seed=0).answers
    return [[answer for answer in answers if answer.request // PHASE == phase] for phase in range(3)]


@pytest.mark.parametrize("num_clients", [1, 4])
def test_useless_drafts_are_not_waited_for_and_good_ones_are_used_again(num_clients: int) -> None:
    good, bad, again = map(_step_times_per_token, phases(num_clients))
    assert bad < 1.1
    assert again < 0.7
    assert again < 1.3 * good


def _step_times_per_token(answers: list[AnswerRecord]) -> float:
    spent_s = sum(answer.finished_s - answer.first_token_s for answer in answers)
    return spent_s / (STEP_S * (NUM_TOKENS - 1) * len(answers))

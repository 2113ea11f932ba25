"""An engine whose steps take time in proportion to their tokens: no draft pays, whatever prompts are read beside it.

So it is with llama.cpp on two cores with AVX2: 35 ms for four streams, 7 ms for each draft token, 5 ms for each token
of a prompt. Steps with a prompt are ten times as long as others. Counted into the rounds, they made drafts seem cheap,
and four clients had 0.90 of the target-only goodput.
"""

import math
from statistics import fmean

from goodspeed.simulator.scenario import scenario_of
from goodspeed.simulator.world import simulate

DURATION_S = 120.0
WARM_UP_S = 20.0


def answer_s(mode: str) -> float:
    """Geometric mean time of the answers after the warm-up."""
    tier = {
        "name": "laptop",
        "count": 4,
        "mode": mode,
        "link": {"rtt_ms": 0.5},
        "latency": {"linear": {"base_s": 0.002, "token_s": 0.0}},
        "acceptance": {"fixed": {"rate": 0.5}},
        "co_located_acceptance": {"fixed": {"rate": 0.5}},
        "workload": {
            "closed": {"think_s": 0.0},
            "prompt": {"distribution": "fixed", "fixed": {"num_tokens": 120}},
            "answer": {"distribution": "fixed", "fixed": {"num_tokens": 64}},
        },
    }
    verifier = {"latency": {"linear": {"base_s": 0.007, "token_s": 0.007}}}
    run = simulate(scenario_of({"duration_s": DURATION_S, "drafters": [tier], "verifiers": [verifier]}))
    answers = [answer for answer in run.answers if answer.finished_s > WARM_UP_S]
    return math.exp(fmean(math.log(answer.finished_s - answer.requested_s) for answer in answers))


def test_drafts_cost_nothing_where_prompts_make_rounds_long() -> None:
    assert answer_s("distributed") < 1.02 * answer_s("target_only")

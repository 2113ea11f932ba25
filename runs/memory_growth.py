"""Streams served at once and tokens per second where KV memory binds: whole answers reserved, and memory that grows.

The live verifier core in virtual time: KV memory for 16 whole answers, 48 closed-loop users, answers that end early.
No text depends on it; what changes is who waits. Seconds.

    python -m runs.memory_growth --seeds 5
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, stdev
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from goodspeed.config import from_mapping
from goodspeed.drafter.core.core_config import RetryConfig
from goodspeed.simulator.result import AnswerRecord, RunResult
from goodspeed.simulator.scenario import Scenario
from goodspeed.simulator.world import simulate

NUM_WHOLE, NUM_USERS = 16, 48
PROMPT, MAX_ANSWER = 200, 600
WATERMARKS = (0.0, 0.02)
"""0: whole answers are reserved."""
DURATION_S = 60.0
WARM_UP_S = 20.0


class Load(NamedTuple):
    """What one run served, after the warm-up."""

    num_at_once: float
    tokens_per_s: float
    ttft_s: float
    preemptions_per_answer: float


def scenario(watermark: float, seed: int) -> Scenario:
    """Answers of 10 to 600 tokens, most of them short; every request may have 600."""
    lengths = {"distribution": "lognormal", "lognormal": {"mean": 180.0, "cv": 0.8}}
    prompt = {"distribution": "fixed", "fixed": {"num_tokens": PROMPT}}
    made: Scenario = from_mapping(
        Scenario,
        {
            "duration_s": DURATION_S,
            "seed": seed,
            "verifiers": [
                {
                    "kv_capacity": NUM_WHOLE * (PROMPT + MAX_ANSWER),
                    "latency": {"kind": "linear", "linear": {"base_s": 0.02, "token_s": 0.0002}},
                    "core": {"growth_watermark": watermark},
                }
            ],
            "drafters": [
                {
                    "count": NUM_USERS,
                    "workload": {
                        "closed": {"think_s": 0.5},
                        "max_answer": MAX_ANSWER,
                        "prompt": prompt,
                        "answer": lengths,
                    },
                }
            ],
        },
    )
    patient = RetryConfig(give_up_s=DURATION_S, first_token_s=DURATION_S, verdict_s=DURATION_S)
    return replace(made, drafters=tuple(replace(tier, retry=patient) for tier in made.drafters))


def measure(result: RunResult) -> Load:
    answers = [answer for answer in result.answers if answer.requested_s > WARM_UP_S]
    span_s = result.simulated_s - WARM_UP_S
    (verifier,) = result.verifiers
    return Load(
        sum(map(_served_s, answers)) / span_s,
        sum(answer.num_answer_tokens for answer in answers) / span_s,
        fmean(answer.first_token_s - answer.requested_s for answer in answers),
        verifier.num_preemptions / len(result.answers),
    )


def _served_s(answer: AnswerRecord) -> float:
    return answer.finished_s - answer.first_token_s


def row(watermark: float, loads: Sequence[Load]) -> list[str]:
    cells = [
        f"{fmean(values):.3g} ± {stdev(values) if len(values) > 1 else 0.0:.2g}" for values in zip(*loads, strict=True)
    ]
    return [f"{watermark:g}" if watermark else "0 (reserved)", *cells]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    table = Table("growth_watermark", "streams at once", "tokens/s", "TTFT, mean, s", "preemptions per answer")
    for watermark in WATERMARKS:
        table.add_row(*row(watermark, [measure(simulate(scenario(watermark, seed))) for seed in range(args.seeds)]))
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())

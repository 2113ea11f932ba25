"""How far a live recording's replay is from the truth: answers judged at every place, recorded as a live drafter would.

LOG is an acceptance log without unknown places (runs/acceptance_record.py). Half a minute for 200 answers.

    .venv/bin/python -m runs.acceptance_censoring acceptance.jsonl
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

from goodspeed.analysis.accepted_by_round import accepted_by_round
from goodspeed.records.acceptance_trace import read_acceptance_trace
from goodspeed.simulator.acceptance.acceptance_model import AcceptanceTrace
from goodspeed.simulator.acceptance.observed_answers import observed_answers
from goodspeed.simulator.acceptance.replayed_trace import replayed_traces
from goodspeed.testing.live_answer import live_answer

RECORDED_AT = ((3, 0.0), (8, 0.0), (16, 0.2), (16, 0.1))  # window, min_survival
WINDOWS = (1, 3, 5, 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", type=Path, metavar="LOG")
    answers = read_acceptance_trace(parser.parse_args().log)
    lengths = [answer.num_answer for answer in answers]
    (truth,) = replayed_traces(answers)
    print("| recorded at window, survival | unknown | right of the judged |", " | ".join(map(str, WINDOWS)), "|")
    print("|---" * (3 + len(WINDOWS)) + "|")
    for window, min_survival in RECORDED_AT:
        live = [
            live_answer(trace, length, window, request, min_survival)
            for request, (trace, length) in enumerate(zip(truth, lengths, strict=True))
        ]
        judged = observed_answers(live)
        known = judged.is_known
        replayed = [pair for filling in replayed_traces(live) for pair in zip(filling, lengths, strict=True)]
        errors = [
            tokens_per_round(replayed, at) / tokens_per_round(zip(truth, lengths, strict=True), at) - 1.0
            for at in WINDOWS
        ]
        print(
            f"| {window}, {min_survival} | {1.0 - known.sum() / judged.lengths.sum():.1%} "
            f"| {(judged.bits[known] == 1).mean():.1%} |",
            " | ".join(f"{error:+.1%}" for error in errors),
            "|",
        )


def tokens_per_round(traces: Iterable[tuple[AcceptanceTrace, int]], window: int) -> float:
    rounds = [num_accepted for trace, length in traces for num_accepted in accepted_by_round(trace, length, window)]
    return 1.0 + sum(rounds) / len(rounds)


if __name__ == "__main__":
    main()

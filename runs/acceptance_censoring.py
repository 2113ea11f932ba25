"""Error of replaying a live acceptance trace, which does not know the outcome of every position.

TRACE is an acceptance trace with the outcome at every position (runs/teacher_forced_trace.py). The run censors it as a
live drafter would, replays it, and prints the error of the tokens per round. Half a minute for 200 answers; no model.

    python -m runs.acceptance_censoring acceptance.jsonl
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

LIVE_SETTINGS = ((3, 0.0), (8, 0.0), (16, 0.2), (16, 0.1))  # window, min_survival
WINDOWS = (1, 3, 5, 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=Path, metavar="TRACE")
    answers = read_acceptance_trace(parser.parse_args().trace)
    lengths = [answer.num_answer for answer in answers]
    (truth,) = replayed_traces(answers)
    print("| recorded with window, survival | unknown | accepted of the known |", " | ".join(map(str, WINDOWS)), "|")
    print("|---" * (3 + len(WINDOWS)) + "|")
    for window, min_survival in LIVE_SETTINGS:
        live = [
            live_answer(trace, length, window, request, min_survival)
            for request, (trace, length) in enumerate(zip(truth, lengths, strict=True))
        ]
        observed = observed_answers(live)
        known = observed.is_known
        replayed = [pair for completed in replayed_traces(live) for pair in zip(completed, lengths, strict=True)]
        errors = [
            tokens_per_round(replayed, window_replayed)
            / tokens_per_round(zip(truth, lengths, strict=True), window_replayed)
            - 1.0
            for window_replayed in WINDOWS
        ]
        print(
            f"| {window}, {min_survival} | {1.0 - known.sum() / observed.lengths.sum():.1%} "
            f"| {(observed.bits[known] == 1).mean():.1%} |",
            " | ".join(f"{error:+.1%}" for error in errors),
            "|",
        )


def tokens_per_round(traces: Iterable[tuple[AcceptanceTrace, int]], window: int) -> float:
    rounds = [num_accepted for trace, length in traces for num_accepted in accepted_by_round(trace, length, window)]
    return 1.0 + sum(rounds) / len(rounds)


if __name__ == "__main__":
    main()

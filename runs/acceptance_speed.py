"""What a simulator pays for acceptance: CPU time of a look-up, of a bit with its share of its trace, and of a report.

The least of five passes over 500 answers of 150 tokens. A minute.

    .venv/bin/python -m runs.acceptance_speed --log results/acceptance.jsonl
"""

import argparse
import time
from collections.abc import Callable

import numpy as np

from goodspeed.simulator.acceptance.acceptance_model import AcceptanceModel, AcceptanceTrace
from goodspeed.simulator.acceptance.models import ACCEPTANCES, AcceptanceConfig, acceptance_model
from goodspeed.simulator.acceptance.replayed_trace import ReplayedTraceConfig

NUM_ANSWERS = 500
NUM_TOKENS = 150
PASSES = 5


def main() -> None:
    args = _parser().parse_args()
    print("| model | look-up, us | bit and trace, us | bit, report and trace, us |\n|---|---|---|---|")
    for name in ACCEPTANCES:
        if name != "trace" or args.log:
            print(row(name, acceptance_model(AcceptanceConfig(name, trace=ReplayedTraceConfig(args.log)))))


def row(name: str, model: AcceptanceModel) -> str:
    known = traces(model)
    bits(known)
    cells = (least(lambda: bits(known)), least(lambda: bits(traces(model))), least(lambda: reports(traces(model))))
    return f"| {name} | " + " | ".join(f"{1e6 * seconds:.2f}" for seconds in cells) + " |"


def traces(model: AcceptanceModel) -> list[AcceptanceTrace]:
    rng = np.random.default_rng(0)
    return [model.new_trace(0, request, rng) for request in range(NUM_ANSWERS)]


def bits(asked: list[AcceptanceTrace]) -> None:
    for trace in asked:
        for position in range(NUM_TOKENS):
            trace.is_right(position, 0)


def reports(asked: list[AcceptanceTrace]) -> None:
    for trace in asked:
        for position in range(NUM_TOKENS):
            trace.is_right(position, 0)
            trace.confidence(position, 0)


def least(work: Callable[[], None]) -> float:
    """CPU seconds of a token."""
    taken = []
    for _ in range(PASSES):
        begin = time.process_time()
        work()
        taken.append(time.process_time() - begin)
    return min(taken) / (NUM_ANSWERS * NUM_TOKENS)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", default="", help="acceptance log, for `recorded`")
    return parser


if __name__ == "__main__":
    main()

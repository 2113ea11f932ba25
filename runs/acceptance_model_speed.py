"""CPU time of the simulator's acceptance models: look-up, outcome with its share of the trace, and confidence.

Minimum of five passes over 500 answers of 150 tokens, in microseconds per token. A minute; needs nothing else.

    python -m runs.acceptance_model_speed --log results/acceptance.jsonl
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
    print("| model | look-up, us | outcome and trace, us | outcome, confidence and trace, us |\n|---|---|---|---|")
    for name in ACCEPTANCES:
        if name != "trace" or args.log:
            print(row(name, acceptance_model(AcceptanceConfig(name, trace=ReplayedTraceConfig(args.log)))))


def row(name: str, model: AcceptanceModel) -> str:
    ready = traces(model)
    outcomes(ready)
    cells = (
        min_token_s(lambda: outcomes(ready)),
        min_token_s(lambda: outcomes(traces(model))),
        min_token_s(lambda: confidences(traces(model))),
    )
    return f"| {name} | " + " | ".join(f"{1e6 * seconds:.2f}" for seconds in cells) + " |"


def traces(model: AcceptanceModel) -> list[AcceptanceTrace]:
    rng = np.random.default_rng(0)
    return [model.new_trace(0, request, rng) for request in range(NUM_ANSWERS)]


def outcomes(traces_read: list[AcceptanceTrace]) -> None:
    for trace in traces_read:
        for position in range(NUM_TOKENS):
            trace.is_right(position, 0)


def confidences(traces_read: list[AcceptanceTrace]) -> None:
    for trace in traces_read:
        for position in range(NUM_TOKENS):
            trace.is_right(position, 0)
            trace.confidence(position, 0)


def min_token_s(work: Callable[[], None]) -> float:
    """CPU seconds per token: the minimum over the passes."""
    passes_s = []
    for _ in range(PASSES):
        start_s = time.process_time()
        work()
        passes_s.append(time.process_time() - start_s)
    return min(passes_s) / (NUM_ANSWERS * NUM_TOKENS)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", default="", help="acceptance trace, for the model `trace`")
    return parser


if __name__ == "__main__":
    main()

"""What the steps of the recorded vLLM run took, beside the tables: where the fitted host time goes.

    python -m runs.vllm_steps [--data FOLDER]

The run has no times of steps, but a stream gets one token a step: between its first and its last token there are as
many steps as its answer has tokens, less one. From 300 such sums the number of steps up to any moment follows by least
squares (piecewise linear, knots every half second, curvature held down). After the last prompt every step is decoding
alone, of streams whose contexts are then known; the tables' step is priced for their mean. Seconds.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from runs.vllm_validation import DATA, TABLES, Timing, check_data, measured

from goodspeed.errors import ConfigError
from goodspeed.simulator.latency.latency_model import StepShape

KNOT_S = 0.5
STIFFNESS = 0.3
WINDOW_S = 2.0

Floats = npt.NDArray[np.float64]


class StepCount:
    """How many steps the server had done at any moment of the run."""

    def __init__(self, timings: Sequence[Timing]) -> None:
        self._start = min(one.first_token_s for one in timings)
        self.end = max(one.finished_s for one in timings)
        num_knots = int((self.end - self._start) / KNOT_S) + 2
        sums = [
            self._weights(one.finished_s, num_knots) - self._weights(one.first_token_s, num_knots) for one in timings
        ]
        num_steps = [one.num_answer_tokens - 1.0 for one in timings]
        bends = STIFFNESS * np.diff(np.eye(num_knots), n=2, axis=0)
        anchor = np.eye(1, num_knots)
        left = np.vstack([sums, bends, anchor])
        right = np.concatenate([num_steps, np.zeros(len(bends) + 1)])
        self._counts: Floats = np.linalg.lstsq(left, right, rcond=None)[0]
        self.rms = float(np.sqrt(np.mean((np.asarray(sums) @ self._counts - num_steps) ** 2)))

    def __call__(self, at_s: float) -> float:
        return float(self._weights(at_s, len(self._counts)) @ self._counts)

    def _weights(self, at_s: float, num_knots: int) -> Floats:
        """[num_knots]: of the two knots beside the moment."""
        distances: Floats = np.abs((at_s - self._start) / KNOT_S - np.arange(num_knots))
        return np.maximum(0.0, 1.0 - distances)


def step_table(timings: Sequence[Timing]) -> Table:
    """Windows without prompts: steps as they were, and as the tables have them."""
    count, model = StepCount(timings), TABLES.model()
    title = f"decoding alone (each answer's steps come out within {count.rms:.1f}, rms)"
    table = Table("streams", "mean context", "measured, ms", "tables, ms", "error", title=title)
    begin = max(one.first_token_s for one in timings)
    while begin + WINDOW_S <= count.end:
        middle = begin + WINDOW_S / 2
        step_s = WINDOW_S / (count(begin + WINDOW_S) - count(begin))
        contexts = [
            one.num_prompt_tokens + count(middle) - count(one.first_token_s)
            for one in timings
            if one.first_token_s <= middle < one.finished_s
        ]
        number = len(contexts)
        priced_s = model.step_s(StepShape(number, number, 0, round(sum(contexts))))
        cells = f"{np.mean(contexts):.0f}", f"{1e3 * step_s:.2f}", f"{1e3 * priced_s:.2f}"
        table.add_row(str(number), *cells, f"{100 * (priced_s / step_s - 1):+.1f}%")
        begin += WINDOW_S
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(DATA), help="folder of the recorded run")
    args = parser.parse_args()
    try:
        check_data(args.data)
        Console().print(step_table(measured(args.data)))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Step times of the recorded vLLM run, compared with the latency tables: the origin of the fitted host time.

The recorded run has no step times. But a stream gets one token per step, so between its first and its last token there
are as many steps as its answer has tokens, minus one. From 300 such sums, least squares gives the number of steps up to
any time (piecewise linear, knots every half second, penalised curvature). After the last prompt all steps only decode,
and the contexts are known. Seconds; needs the recorded run and the extra gpu-tables.

    python -m runs.vllm_steps --data FOLDER
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
    """The number of steps of the server up to any time of the run."""

    def __init__(self, timings: Sequence[Timing]) -> None:
        self._start = min(timing.first_token_s for timing in timings)
        self.end = max(timing.finished_s for timing in timings)
        num_knots = int((self.end - self._start) / KNOT_S) + 2
        sums = [
            self._weights(timing.finished_s, num_knots) - self._weights(timing.first_token_s, num_knots)
            for timing in timings
        ]
        num_steps = [timing.num_answer_tokens - 1.0 for timing in timings]
        bends = STIFFNESS * np.diff(np.eye(num_knots), n=2, axis=0)
        anchor = np.eye(1, num_knots)
        matrix = np.vstack([sums, bends, anchor])
        values = np.concatenate([num_steps, np.zeros(len(bends) + 1)])
        self._counts: Floats = np.linalg.lstsq(matrix, values, rcond=None)[0]
        self.rms = float(np.sqrt(np.mean((np.asarray(sums) @ self._counts - num_steps) ** 2)))

    def __call__(self, at_s: float) -> float:
        return float(self._weights(at_s, len(self._counts)) @ self._counts)

    def _weights(self, at_s: float, num_knots: int) -> Floats:
        """[num_knots]: interpolation weights of the two neighbouring knots."""
        distances: Floats = np.abs((at_s - self._start) / KNOT_S - np.arange(num_knots))
        return np.maximum(0.0, 1.0 - distances)


def step_table(timings: Sequence[Timing]) -> Table:
    """Windows without prompts: measured step times and those of the tables."""
    count, model = StepCount(timings), TABLES.model()
    title = f"decoding only (rms error of the steps of an answer: {count.rms:.1f})"
    table = Table("streams", "mean context", "measured, ms", "tables, ms", "error", title=title)
    start_s = max(timing.first_token_s for timing in timings)
    while start_s + WINDOW_S <= count.end:
        middle = start_s + WINDOW_S / 2
        step_s = WINDOW_S / (count(start_s + WINDOW_S) - count(start_s))
        contexts = [
            timing.num_prompt_tokens + count(middle) - count(timing.first_token_s)
            for timing in timings
            if timing.first_token_s <= middle < timing.finished_s
        ]
        number = len(contexts)
        priced_s = model.step_s(StepShape(number, number, 0, round(sum(contexts))))
        cells = f"{np.mean(contexts):.0f}", f"{1e3 * step_s:.2f}", f"{1e3 * priced_s:.2f}"
        table.add_row(str(number), *cells, f"{100 * (priced_s / step_s - 1):+.1f}%")
        start_s += WINDOW_S
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

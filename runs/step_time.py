"""Errors of the step-time model on simulated series of steps, and on the steps of real event logs.

A row is a kind of series; its true times are known at every step. Columns: root mean square error, and mean error, of
token_s; of the time of a step without draft tokens (the baseline); of a step of the present size; and of a step of any
size seen so far. --event-log prints how far the prediction of each step is from the time it then took. Half a minute.

    python -m runs.step_time
    python -m runs.step_time --event-log results/fixed-verifier.jsonl
"""

import argparse
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from goodspeed.simulator.latency.latency_model import LatencyModel, StepShape
from goodspeed.simulator.latency.roofline import RooflineConfig
from goodspeed.verifier.core.timing.step_time import StepTimeModel

CONTEXT = 500
RECENT = 50
"""Steps whose mean size is the present one."""

TrueTime = Callable[[int, int, int], float]
"""Seconds of a step of verified tokens, streams and prompt tokens."""
Size = tuple[int, int]
"""Verified tokens and streams."""


@dataclass(frozen=True, slots=True)
class Series:
    """Steps of random sizes: 1 to 4 streams with half of `max_draft` draft tokens each on average."""

    name: str
    true_s: TrueTime
    noise: float = 0.05  # deviation of the logarithm
    num_steps: int = 600
    streams: Callable[[int], Size] = lambda _: (1, 4)  # range, inclusive
    max_draft: Callable[[int], int] = lambda _: 4
    slowness: Callable[[int], float] = lambda _: 1.0
    counted: Callable[[int], bool] = lambda step: step >= 250
    outliers: float = 0.0  # share of steps that take ten times as long
    prefills: float = 0.0  # share of steps with 32 to 128 prompt tokens
    equal_after: int = 10**9  # from this step on every step has 4 streams and 8 tokens

    def size(self, step: int, rng: np.random.Generator) -> Size:
        if step >= self.equal_after:
            return 8, 4
        low, high = self.streams(step)
        num_streams = int(rng.integers(low, high + 1))
        return num_streams + int(rng.binomial(self.max_draft(step) * num_streams, 0.5)), num_streams


def cpu_s(num_tokens: int, num_streams: int, num_prompt: int) -> float:
    """SmolLM2-135M on two cores, as measured."""
    return 0.0115 + 0.00056 * num_tokens + 0.0011 * num_streams + 0.0003 * num_prompt


def gpu(model: LatencyModel) -> TrueTime:
    def true_s(num_tokens: int, num_streams: int, num_prompt: int) -> float:
        total = num_tokens + num_prompt
        return model.step_s(StepShape(num_streams, total, num_prompt, CONTEXT * num_streams + total))

    return true_s


def all_series() -> list[Series]:
    h100 = gpu(RooflineConfig(shape="llama-3.1-8b", device="h100_sxm").model())
    a100 = gpu(RooflineConfig(shape="llama-3.1-8b", device="a100_sxm").model())

    def after_change(step: int) -> bool:
        return 330 <= step < 430

    def by_load(low: Size, high: Size) -> Callable[[int], Size]:
        return lambda step: low if 300 <= step < 600 else high

    return [
        Series("CPU, steady", cpu_s),
        Series("GPU, 12 to 16 streams", h100, 0.01, streams=lambda _: (12, 16)),
        Series("GPU, 56 to 64 streams", h100, 0.01, streams=lambda _: (56, 64)),
        Series("GPU, 16 to 128 streams, across the knee", a100, 0.01, 900, lambda _: (16, 128)),
        Series("GPU, load 64, 16, 64", h100, 0.01, 900, by_load((12, 16), (56, 64)), counted=lambda step: step >= 350),
        Series("GPU, load 128, 16, 128", a100, 0.01, 900, by_load((12, 16), (120, 128)), counted=lambda s: s >= 350),
        Series("twice as slow from step 300", cpu_s, slowness=lambda s: 1.0 + (s >= 300), counted=after_change),
        Series("twice as fast from step 300", cpu_s, slowness=lambda s: 1.0 - 0.5 * (s >= 300), counted=after_change),
        Series(
            "twice as slow, then shorter drafts",
            cpu_s,
            max_draft=lambda step: 2 if step >= 300 else 6,
            slowness=lambda step: 1.0 + (step >= 300),
            counted=after_change,
        ),
        Series(
            "another speed every 100 steps",
            cpu_s,
            num_steps=1500,
            slowness=lambda step: (1.0, 2.5, 1.2, 3.0, 1.0, 1.8)[step // 100 % 6],
            counted=lambda step: step >= 250 and step % 100 >= 30,
        ),
        Series(
            "slower by 0.25% a step, drafts longer",
            cpu_s,
            max_draft=lambda step: 1 + step % 400 // 80,
            slowness=lambda step: 1.0 + step % 400 / 400,
        ),
        Series(
            "equal steps from 200, slower from 300", cpu_s, equal_after=200, slowness=lambda s: 1.0 + (s >= 300) / 2
        ),
        Series("2% of the steps ten times as long", cpu_s, outliers=0.02),
        Series("a fifth of the steps with prefill", cpu_s, prefills=0.2),
        Series("19 of 20 steps with prefill", cpu_s, prefills=0.95),
    ]


def errors(series: Series, model: StepTimeModel, seed: int) -> list[list[float]]:
    """Relative errors of the four quantities, [4, counted steps]."""
    rng = np.random.default_rng(seed)
    found: list[list[float]] = [[], [], [], []]
    sizes: list[Size] = []
    for step in range(series.num_steps):
        size = num_tokens, num_streams = series.size(step, rng)
        sizes.append(size)
        num_prompt = int(rng.integers(32, 129)) if rng.random() < series.prefills else 0
        slowness = series.slowness(step)
        step_s = slowness * series.true_s(*size, num_prompt) * math.exp(rng.normal(0.0, series.noise))
        step_s *= 10.0 if rng.random() < series.outliers else 1.0
        model.observe(num_tokens + num_prompt, num_streams + (num_prompt > 0), step_s, num_prompt)
        if series.counted(step):
            mean_tokens, mean_streams = (round(float(x)) for x in np.mean(sizes[-RECENT:], axis=0))
            found[0].append(model.token_s / (slowness * _slope_s(series.true_s, mean_tokens, mean_streams)) - 1.0)
            seen = sizes[int(rng.integers(len(sizes)))]
            for i, other in enumerate(((mean_streams, mean_streams), size, seen), start=1):
                found[i].append(model.predict(*other) / (slowness * series.true_s(*other, 0)) - 1.0)
    return found


def _slope_s(true_s: TrueTime, num_tokens: int, num_streams: int) -> float:
    low, high = max(num_streams, num_tokens - max(1, num_tokens // 8)), num_tokens + max(1, num_tokens // 8)
    return (true_s(high, num_streams, 0) - true_s(low, num_streams, 0)) / (high - low)


def logged_steps(path: Path) -> Iterator[tuple[int, int, float, int]]:
    """Tokens, streams, seconds and prompt tokens of the steps in a verifier's event log."""
    work: list[dict[str, Any]] = []
    for line in path.open():
        event = json.loads(line)
        if event["event"] == "batch":
            work = event["batch"]["work"]
        elif event["event"] == "verified" and work:
            num_prompt = sum(item["num_tokens"] for item in work if item["kind"] == "Prefill")
            num_verified = sum(1 + len(item["draft_tokens"]) for item in work if item["kind"] == "Verify")
            yield num_prompt + num_verified, len(work), event["now"] - event["started"], num_prompt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--event-log", type=Path, action="append", default=[], help="of a verifier")
    args = parser.parse_args()
    if args.event_log:
        for path in args.event_log:
            _print_log(path)
        return
    print("| series | token_s | baseline step | present size | any size seen |\n|---|---|---|---|---|")
    for series in all_series():
        runs = [errors(series, StepTimeModel(), seed) for seed in range(args.seeds)]
        cells = [_cell(np.concatenate([run[i] for run in runs])) for i in range(4)]
        print(f"| {series.name} | {' | '.join(cells)} |", flush=True)


def _cell(relative: np.ndarray) -> str:
    return f"{100 * np.sqrt(np.mean(relative**2)):.0f} ({100 * np.mean(relative):+.0f})"


def _print_log(path: Path) -> None:
    model = StepTimeModel()
    found = []
    for num_tokens, num_streams, step_s, num_prompt in logged_steps(path):
        if model.is_settled and not num_prompt:
            found.append(math.log(model.predict(num_tokens, num_streams) / step_s))
        model.observe(num_tokens, num_streams, step_s, num_prompt)
    print(
        f"{path}: {len(found)} steps, median |log error| {np.median(np.abs(found)):.3f}, mean {np.mean(found):+.3f}; "
        f"token_s {1e3 * model.token_s:.3f} ms of {1e3 * (model.mean_s or 0.0):.1f}"
    )


if __name__ == "__main__":
    main()

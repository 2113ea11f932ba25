"""How often AWC changes the mode of a client in stationary load, by the window from which it returns to remote drafts.

The scenarios are those of `goodspeed awc collect`, each for one minute of virtual time. Changes are counted in answers
that end after the first third, so that the first change from remote to local drafting does not count. Goodput is the
clients' geometric mean of tokens per second of answer time. Ten minutes of one core, compiled; no model.

    python -m runs.awc_mode_changes --scenarios 12
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from goodspeed.awc.arms import DEFAULT, TARGET_ONLY
from goodspeed.awc.evaluation import EvaluatedArm, awc_arm
from goodspeed.awc.scenarios import SamplingConfig, random_scenario
from goodspeed.experiment.metrics import latency_s
from goodspeed.simulator.result import RunResult
from goodspeed.windows.awc.network import load_network
from goodspeed.windows.awc.policy import AwcConfig

DURATION_S = 60.0
WARM_UP = 1 / 3
"""Answers that end in this share of the run are left out."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenarios", type=int, default=12, help="number of scenarios")
    parser.add_argument("--first", type=int, default=1000, help="index of the first one")
    parser.add_argument("--return-windows", type=int, nargs="+", default=[2, 3, 4, 6])
    parser.add_argument("--hysteresis", type=int, nargs="+", default=[2], help="decisions in a row")
    parser.add_argument("--mode", default="target_only", help="mode without remote drafts")
    parser.add_argument("--weights", default="", help="weights of AWC; empty: the packaged ones")
    args = parser.parse_args()
    network = load_network(args.weights)
    arms = [EvaluatedArm(TARGET_ONLY.name, TARGET_ONLY), EvaluatedArm(DEFAULT.name, DEFAULT)]
    for return_window in args.return_windows:
        for hysteresis in args.hysteresis:
            config = AwcConfig(mode=args.mode, return_window=return_window, hysteresis=hysteresis)
            arms.append(awc_arm(f"awc, from {return_window}, {hysteresis} in a row", network, config))
    indices = range(args.first, args.first + args.scenarios)
    measured = {arm.name: [measure(arm, index) for index in indices] for arm in arms}
    print("| arm | goodput / target-only | changes a minute and client | scenarios with fewer than one |")
    print("|---|---|---|---|")
    baseline = [goodput for goodput, _ in measured[TARGET_ONLY.name]]
    for name, values in measured.items():
        print(row(name, values, baseline))


def measure(arm: EvaluatedArm, index: int) -> tuple[float, float]:
    """Goodput, and changes of the mode per minute and client."""
    scenario = replace(random_scenario(SamplingConfig(), index), duration_s=DURATION_S)
    run = arm.run(scenario, scenario.seed)
    return goodput(run), changes(run) / (len(scenario.clients) * DURATION_S * (1 - WARM_UP) / 60.0)


def goodput(run: RunResult) -> float:
    """Geometric mean over the clients that finished an answer."""
    by_client: dict[str, list[float]] = {}
    for answer in run.answers:
        by_client.setdefault(answer.client, []).append(answer.num_answer_tokens / latency_s(answer))
    return math.exp(fmean(math.log(fmean(values)) for values in by_client.values()))


def changes(run: RunResult) -> int:
    """Changes of the mode in answers that ended after the warm-up."""
    return sum(answer.num_mode_changes for answer in run.answers if answer.finished_s > WARM_UP * DURATION_S)


def row(name: str, values: Sequence[tuple[float, float]], baseline: Sequence[float]) -> str:
    ratios = [math.log(goodput / other) for (goodput, _), other in zip(values, baseline, strict=True)]
    per_minute = [number for _, number in values]
    num_calm = sum(number < 1.0 for number in per_minute)
    return f"| {name} | {math.exp(fmean(ratios)):.3f} | {fmean(per_minute):.2f} | {num_calm} of {len(values)} |"


if __name__ == "__main__":
    main()

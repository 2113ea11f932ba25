"""Coverage of the simulator's 95% intervals on an M/M/1 queue, whose mean sojourn time is known.

An experiment has five replications. The warm-up is given (100 s), or MSER-5 determines it in each replication, or in a
pilot run. The run prints how often the interval of the mean covers the true value, and the bias of the mean. Two
minutes; no model.

    python -m runs.interval_coverage
"""

import argparse
import math

from goodspeed.experiment.metrics import compute_metrics
from goodspeed.experiment.summary import summarise
from goodspeed.experiment.warm_up import WarmUp, WarmUpSource, find_warm_up
from goodspeed.simulator.result import RunResult
from goodspeed.testing.single_server import SingleServerQueue, simulate

NUM_REPLICATIONS = 5
GIVEN = WarmUp(100.0, WarmUpSource.GIVEN)
FIRST_PILOT_SEED = 10**6
"""First seed of the pilots. Each experiment has its own pilot, so that experiments are independent."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=300)
    parser.add_argument("--until-s", type=float, default=1500.0)
    args = parser.parse_args()
    for load in (0.5, 0.8):
        queue = SingleServerQueue(load, args.until_s)
        runs = [simulate(queue, seed) for seed in range(NUM_REPLICATIONS * args.experiments)]
        pilots = [find_warm_up(simulate(queue, FIRST_PILOT_SEED + i).answers) for i in range(args.experiments)]
        _show(load, "given", runs, [GIVEN for _ in runs])
        _show(load, "of each run", runs, [find_warm_up(run.answers) for run in runs])
        _show(load, "of a pilot", runs, [pilots[i // NUM_REPLICATIONS] for i in range(len(runs))])


def _show(load: float, name: str, runs: list[RunResult], starts: list[WarmUp]) -> None:
    true_mean = 1.0 / (1.0 - load)
    num_covered, means = 0, []
    for i in range(len(runs) // NUM_REPLICATIONS):
        replications_of_experiment = slice(NUM_REPLICATIONS * i, NUM_REPLICATIONS * (i + 1))
        replications = [
            compute_metrics(run, start)
            for run, start in zip(runs[replications_of_experiment], starts[replications_of_experiment], strict=True)
        ]
        latency = summarise(replications).metrics["latency_mean_s"]
        num_covered += latency.low <= true_mean <= latency.high
        means.append(latency.mean)
    bias = math.fsum(means) / len(means) / true_mean - 1.0
    print(f"load {load}, warm-up {name}: covers in {num_covered / len(means):.1%}, bias {bias:+.1%}", flush=True)


if __name__ == "__main__":
    main()

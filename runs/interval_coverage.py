"""Do the intervals of simulated figures hold what they say? An M/M/1 queue, whose mean sojourn is known.

    python -m runs.interval_coverage          (from the repository's root; two minutes of a core)

Experiments of five replications each; the warm-up is given (100 s), found by MSER-5 in each replication itself, or
found in a pilot. Shown: how often the 95% interval of the mean holds the truth, and how far the mean of all runs is
from it.
"""

import argparse
import math

from goodspeed.experiment.metrics import compute_metrics
from goodspeed.experiment.summary import summarise
from goodspeed.experiment.warm_up import WarmUp, WarmUpSource, find_warm_up
from goodspeed.simulator.result import RunResult
from goodspeed.testing.single_server import Queue, simulate

NUM_REPLICATIONS = 5
GIVEN = WarmUp(100.0, WarmUpSource.GIVEN)
PILOT_FROM = 10**6
"""Each experiment has a pilot of its own; the tool has one, so its experiments would share its luck."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=300)
    parser.add_argument("--until-s", type=float, default=1500.0)
    args = parser.parse_args()
    for load in (0.5, 0.8):
        queue = Queue(load, args.until_s)
        runs = [simulate(queue, seed) for seed in range(NUM_REPLICATIONS * args.experiments)]
        pilots = [find_warm_up(simulate(queue, PILOT_FROM + i).answers) for i in range(args.experiments)]
        _show(load, "given", runs, [GIVEN for _ in runs])
        _show(load, "each run's own", runs, [find_warm_up(run.answers) for run in runs])
        _show(load, "a pilot's", runs, [pilots[i // NUM_REPLICATIONS] for i in range(len(runs))])


def _show(load: float, name: str, runs: list[RunResult], starts: list[WarmUp]) -> None:
    truth = 1.0 / (1.0 - load)
    num_covered, means = 0, []
    for i in range(len(runs) // NUM_REPLICATIONS):
        mine = slice(NUM_REPLICATIONS * i, NUM_REPLICATIONS * (i + 1))
        replications = [compute_metrics(run, start) for run, start in zip(runs[mine], starts[mine], strict=True)]
        found = summarise(replications).metrics["latency_mean_s"]
        num_covered += found.low <= truth <= found.high
        means.append(found.mean)
    bias = math.fsum(means) / len(means) / truth - 1.0
    print(f"load {load}, warm-up {name}: covers in {num_covered / len(means):.1%}, bias {bias:+.1%}", flush=True)


if __name__ == "__main__":
    main()

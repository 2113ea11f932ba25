"""All schedulers on a synthetic problem with a known optimum: utility, total and minimum goodput, fairness.

Eight clients with geometric acceptance of .9 .8 .7 .6 .5 .85 .4 .75 share 20 draft tokens per round. Acceptance and
goodput are estimated online (censored, beta 0.1, eta 0.05); rounds 300 to 3,000 count. Goodput is tokens per round.
Half a minute; no model.

    python -m runs.scheduler_comparison
"""

import argparse
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from goodspeed.scheduling.gradient import GradientScheduler
from goodspeed.scheduling.policies import ESTIMATORS, SCHEDULERS
from goodspeed.scheduling.scheduler import Budget, ClientView, Scheduler

ACCEPTANCE_RATES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.85, 0.4, 0.75)
BUDGET, NUM_ROUNDS, WARM_UP = 20, 3000, 300
SEEDS = range(10)
FAIRNESS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 256.0)


def goodputs(scheduler: Scheduler, beta: float, seed: int) -> NDArray[np.float64]:
    """[clients]: mean committed tokens per round."""
    rng = np.random.default_rng(seed)
    estimators = [ESTIMATORS["censored"](beta, 0.05) for _ in ACCEPTANCE_RATES]
    committed = np.zeros(len(ACCEPTANCE_RATES))
    for round_number in range(NUM_ROUNDS):
        clients = [ClientView(estimator.acceptance_rate, estimator.goodput) for estimator in estimators]
        for i, grant in enumerate(scheduler.grants(clients, Budget(BUDGET), rng)):
            num_accepted = min(grant, int(rng.geometric(1.0 - ACCEPTANCE_RATES[i])) - 1)
            estimators[i].on_verdict(grant, num_accepted)
            committed[i] += (num_accepted + 1) * (round_number >= WARM_UP)
    return committed / (NUM_ROUNDS - WARM_UP)


def row(name: str, runs: Sequence[NDArray[np.float64]]) -> str:
    """Utility, total, minimum and Jain's index: mean ± standard deviation over the runs."""
    x = np.array(runs)  # [runs, clients]
    jain = x.sum(axis=1) ** 2 / (x.shape[1] * (x**2).sum(axis=1))
    columns = (np.log(x).sum(axis=1), x.sum(axis=1), x.min(axis=1), jain)
    return f"| {name} | " + " | ".join(f"{column.mean():.3f} ± {column.std():.3f}" for column in columns) + " |"


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print("| scheduler | utility (sum of log) | total | minimum | Jain's index |\n|---|---|---|---|---|")
    for name in SCHEDULERS:
        print(row(f"`{name}`", [goodputs(SCHEDULERS[name](), 0.1, seed) for seed in SEEDS]), flush=True)
    print("\n| fairness, beta | utility (sum of log) | total | minimum | Jain's index |\n|---|---|---|---|---|")
    for beta in (0.1, 0.02):
        for fairness in FAIRNESS:
            runs = [goodputs(GradientScheduler(fairness), beta, seed) for seed in SEEDS]
            print(row(f"{fairness:g}, {beta}", runs), flush=True)


if __name__ == "__main__":
    main()

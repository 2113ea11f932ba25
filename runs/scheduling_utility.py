"""Long-run utility of the schedulers with estimates made online, on a problem whose optimum is known.

    python runs/scheduling_utility.py

Eight clients with geometric acceptance of .9 .8 .7 .6 .5 .85 .4 .75 share 20 draft tokens a round, 1,500 rounds. The
utility is the sum of log mean goodput (tokens per round); the optimum of the convex program is 7.015.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from goodspeed.scheduling.base import Budget, ClientView
from goodspeed.scheduling.exploration import exploration_grants
from goodspeed.scheduling.policies import ESTIMATORS, SCHEDULERS

ACCEPTANCE_RATES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.85, 0.4, 0.75)
BUDGET = 20
NUM_ROUNDS = 1500
SEEDS = range(10)


@dataclass(frozen=True)
class Setting:
    """Who decides, from what."""

    scheduler: str = "gradient"
    estimator: str = "censored"
    beta: float = 0.1
    eta: float = 0.05
    is_exploring: bool = False

    def show(self) -> str:
        """Mean and standard deviation over the seeds."""
        values = [utility(self, seed) for seed in SEEDS]
        return f"{np.mean(values):.3f} ± {np.std(values):.3f}"


def utility(setting: Setting, seed: int) -> float:
    rng = np.random.default_rng(seed)
    scheduler = SCHEDULERS[setting.scheduler]()
    estimators = [ESTIMATORS[setting.estimator](setting.beta, setting.eta) for _ in ACCEPTANCE_RATES]
    starved_rounds = [0] * len(ACCEPTANCE_RATES)
    committed = np.zeros(len(ACCEPTANCE_RATES))
    for _ in range(NUM_ROUNDS):
        reserved = exploration_grants(starved_rounds, BUDGET if setting.is_exploring else 0)
        views = [ClientView(one.acceptance_rate, one.goodput) for one in estimators]
        shared = scheduler.grants(views, Budget(BUDGET - sum(reserved)), rng)
        grants = [a + b for a, b in zip(shared, reserved, strict=True)]
        starved_rounds = [0 if grant else rounds + 1 for grant, rounds in zip(grants, starved_rounds, strict=True)]
        for i, grant in enumerate(grants):
            num_accepted = min(grant, int(rng.geometric(1.0 - ACCEPTANCE_RATES[i])) - 1)
            estimators[i].on_verdict(grant, num_accepted)
            committed[i] += num_accepted + 1
    return float(np.log(committed / NUM_ROUNDS).sum())


def main() -> None:
    for name in ("fixed", "random"):
        print(f"{name}: {Setting(name).show()}")
    print("\n| gradient: estimator | beta | eta | without exploration | with |")
    print("|---|---|---|---|---|")
    for estimator, beta, eta in itertools.product(("censored", "paper"), (0.5, 0.1, 0.02), (0.2, 0.05, 0.02)):
        cells = [Setting("gradient", estimator, beta, eta, is_exploring).show() for is_exploring in (False, True)]
        print(f"| {estimator} | {beta} | {eta} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()

"""Time and optimality gap of the long-run optimum: by price search, and by Frank-Wolfe with the scheduler as oracle.

Acceptance rates are uniform in .1 to .97 (seed 1), with three draft tokens per client. Seconds; no model.

    python -m runs.optimum_speed
"""

import argparse
import time

import numpy as np

from goodspeed.fluid.frank_wolfe import best_goodputs
from goodspeed.fluid.problem import LongRunProblem, log_utility

TOLERANCE = 1e-6


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(
        "| clients | price: gap | ms | Frank-Wolfe: gap | steps | ms | difference of U |\n|---|---|---|---|---|---|---|"
    )
    for num_clients in (8, 50, 200):
        rates = np.random.default_rng(1).uniform(0.1, 0.97, num_clients)
        problem = LongRunProblem(tuple(rates.tolist()), 3 * num_clients)
        start_s = time.perf_counter()
        optimum = problem.optimum()
        price_end_s = time.perf_counter()
        by_frank_wolfe = best_goodputs(problem, TOLERANCE)
        frank_wolfe_end_s = time.perf_counter()
        difference = abs(optimum.utility - float(log_utility(by_frank_wolfe.point)))
        price = f"{optimum.gap:.0e} | {1e3 * (price_end_s - start_s):.1f}"
        frank_wolfe = (
            f"{by_frank_wolfe.gap:.0e} | {by_frank_wolfe.num_steps} | {1e3 * (frank_wolfe_end_s - price_end_s):.0f}"
        )
        print(f"| {num_clients} | {price} | {frank_wolfe} | {difference:.0e} |")
    for num_clients in (1_000, 10_000):
        rates = np.random.default_rng(1).uniform(0.1, 0.97, num_clients)
        start_s = time.perf_counter()
        optimum = LongRunProblem(tuple(rates.tolist()), 3 * num_clients).optimum()
        print(f"| {num_clients:,} | {optimum.gap:.0e} | {1e3 * (time.perf_counter() - start_s):.1f} | | | | |")


if __name__ == "__main__":
    main()

"""The long-run optimum by its price, and by Frank-Wolfe with the scheduler's decision as the oracle: gap and time.

    python runs/optimum_speed.py

Acceptance rates uniform in .1 to .97 (seed 1), three draft tokens a client.
"""

import time

import numpy as np

from goodspeed.fluid.frank_wolfe import best_goodputs
from goodspeed.fluid.problem import Problem, log_utility

TOLERANCE = 1e-6


def main() -> None:
    print(
        "| clients | price: gap | ms | Frank-Wolfe: gap | steps | ms | difference of U |\n|---|---|---|---|---|---|---|"
    )
    for num_clients in (8, 50, 200):
        rates = np.random.default_rng(1).uniform(0.1, 0.97, num_clients)
        problem = Problem(tuple(rates.tolist()), 3 * num_clients)
        began = time.perf_counter()
        best = problem.optimum()
        searched = time.perf_counter()
        other = best_goodputs(problem, TOLERANCE)
        walked = time.perf_counter()
        difference = abs(best.utility - float(log_utility(other.point)))
        price = f"{best.gap:.0e} | {1e3 * (searched - began):.1f}"
        frank_wolfe = f"{other.gap:.0e} | {other.num_steps} | {1e3 * (walked - searched):.0f}"
        print(f"| {num_clients} | {price} | {frank_wolfe} | {difference:.0e} |")
    for num_clients in (1_000, 10_000):
        rates = np.random.default_rng(1).uniform(0.1, 0.97, num_clients)
        began = time.perf_counter()
        best = Problem(tuple(rates.tolist()), 3 * num_clients).optimum()
        print(f"| {num_clients:,} | {best.gap:.0e} | {1e3 * (time.perf_counter() - began):.1f} | | | | |")


if __name__ == "__main__":
    main()

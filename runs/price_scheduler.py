"""Price scheduler under deadline batching: goodput, utility and batch fill in virtual time.

The verifier's core serves toy drafters with acceptance .9 .75 .6 .5 in several orders and 20% jitter. Goodput is
committed tokens per second, utility the sum of log goodput, fill the draft tokens of a batch relative to the budget.
Mean ± standard deviation over the seeds. Two minutes; no model.

    python -m runs.price_scheduler
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from goodspeed.engine.interface import Verify
from goodspeed.testing.virtual_verifier import VirtualDrafter, VirtualVerifier, open_request, unlimited_info
from goodspeed.verifier.core.core_config import VerifierCoreConfig

WARM_UP_S, MEASURED_S = 10.0, 30.0
SEEDS = range(6)
JITTER = 0.2
ACCEPTANCE_RATES = (0.9, 0.75, 0.6, 0.5)
SCHEDULERS = {  # scheduler, overcommit
    "fixed": ("fixed", 1.0),
    "gradient": ("gradient", 1.0),
    "gradient, overcommit 2": ("gradient", 2.0),
    "price": ("price", 1.0),
}


@dataclass(frozen=True)
class PriceCase:
    """The turnarounds of the drafters (verdict sent to proposal received), and an engine."""

    name: str
    turnarounds_ms: tuple[float, ...]
    base_ms: float
    token_ms: float
    budget: int

    def step_s(self, num_tokens: int) -> float:
        return (self.base_ms + self.token_ms * num_tokens) / 1e3


CASES = (
    PriceCase("equal turnarounds: 4 x 30 ms; 50 + 1", (30,) * 4, 50, 1, 16),
    PriceCase("unlike links, CPU: 5 20 50 80; 14 + 0.85", (5, 20, 50, 80), 14, 0.85, 16),
    PriceCase("unlike links, GPU: 2 x (5 20 50 80); 20 + 0.2", (5, 20, 50, 80) * 2, 20, 0.2, 16),
    PriceCase("32 drafters, GPU: 8 x (20 40 60 100); 20 + 0.2", (20, 40, 60, 100) * 8, 20, 0.2, 64),
)


def measure(case: PriceCase, scheduler: str, overcommit: float, seed: int) -> tuple[float, float, float]:
    """Goodput, utility, fill."""
    rng = np.random.default_rng(seed)
    config = VerifierCoreConfig(
        scheduler=scheduler, draft_selection="arrival", overcommit=overcommit, budget=case.budget, seed=seed
    )
    verifier = VirtualVerifier(config, unlimited_info(), case.step_s)
    drafters = []
    for i, turnaround_ms in enumerate(case.turnarounds_ms):
        rate = ACCEPTANCE_RATES[(i + i // 4 + seed) % 4]
        drafters.append(VirtualDrafter(verifier, f"drafter {i}", rate, jittered(turnaround_ms / 1e3, rng)))
        drafters[-1].open(open_request(1, prompt=(i, seed, 2), max_tokens=100_000))
    verifier.run(WARM_UP_S)
    before, first_step = committed(drafters), len(verifier.steps)
    verifier.run(MEASURED_S)
    goodputs = (committed(drafters) - before) / MEASURED_S
    num_drafted = [
        sum(len(item.draft_tokens) for item in step.work if isinstance(item, Verify))
        for step in verifier.steps[first_step:]
    ]
    return float(goodputs.sum()), float(np.log(goodputs).sum()), float(np.mean(num_drafted)) / case.budget


def committed(drafters: list[VirtualDrafter]) -> NDArray[np.float64]:
    return np.array([drafter.num_committed for drafter in drafters], dtype=np.float64)


def jittered(turnaround_s: float, rng: np.random.Generator) -> Callable[[], float]:
    return lambda: turnaround_s * math.exp(JITTER * float(rng.standard_normal()))


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print("| case (turnarounds; step in ms) | scheduler | goodput, tokens/s | utility | fill |")
    print("|---|---|---|---|---|")
    for case in CASES:
        for name, (scheduler, overcommit) in SCHEDULERS.items():
            values = np.array([measure(case, scheduler, overcommit, seed) for seed in SEEDS])
            mean, spread = values.mean(axis=0), values.std(axis=0)
            goodput, utility = f"{mean[0]:.0f} ± {spread[0]:.0f}", f"{mean[1]:.2f} ± {spread[1]:.2f}"
            print(f"| {case.name} | {name} | {goodput} | {utility} | {mean[2]:.2f} |", flush=True)


if __name__ == "__main__":
    main()

"""Goodput of the batching policies in virtual time: the verifier's core, toy drafters, a linear step time.

A case is the mean turnaround of every drafter (verdict sent to proposal received, log-normal jitter) and an engine
whose step takes base + token * tokens. "at once" never waits. Acceptance 0.7, budget of 6 tokens per drafter, one
endless stream each. A minute and a half; no model.

    python -m runs.batching_policies
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from goodspeed.testing.virtual_verifier import VirtualDrafter, VirtualVerifier, open_request, unlimited_info
from goodspeed.verifier.core.core_config import VerifierCoreConfig

SECONDS = 20.0
SEEDS = range(5)
JITTERS = (0.05, 0.2, 0.6)
# A barrier with a timeout of 0 closes at once.
POLICIES = {"deadline": ("deadline", 1.0), "barrier": ("barrier", 1.0), "at once": ("barrier", 0.0)}


@dataclass(frozen=True)
class BatchingCase:
    """The turnarounds of the drafters, and an engine."""

    name: str
    turnarounds_ms: tuple[float, ...]
    base_ms: float
    token_ms: float

    def step_s(self, num_tokens: int) -> float:
        return (self.base_ms + self.token_ms * num_tokens) / 1e3


CASES = (
    BatchingCase("CPU engine, lookup drafts", (2, 10, 20, 40), 50, 10),
    BatchingCase("equal turnarounds, memory-bound engine", (30, 30, 30, 30), 50, 1),
    BatchingCase("wide area, GPU", (20, 40, 60, 100) * 2, 20, 0.2),
    BatchingCase("three fast, one slow", (5, 5, 5, 500), 30, 3),
    BatchingCase("two fast, two slow", (5, 5, 100, 100), 40, 2),
    BatchingCase("slow drafts", (100, 100, 100, 100), 30, 6),
    BatchingCase("32 drafters, GPU", (30,) * 32, 20, 0.2),
)


def goodput(case: BatchingCase, policy: str, jitter: float, seed: int) -> float:
    """Committed tokens per second."""
    rng = np.random.default_rng(seed)
    batching, timeout_s = POLICIES[policy]
    config = VerifierCoreConfig(
        scheduler="gradient",
        draft_selection="arrival",
        batching=batching,
        barrier_timeout_s=timeout_s,
        budget=6 * len(case.turnarounds_ms),
    )
    verifier = VirtualVerifier(config, unlimited_info(), case.step_s)
    drafters = []
    for i, turnaround_ms in enumerate(case.turnarounds_ms):
        drafters.append(VirtualDrafter(verifier, f"drafter {i}", 0.7, jittered(turnaround_ms / 1e3, jitter, rng)))
        drafters[-1].open(open_request(1, prompt=(i, 1, 2), max_tokens=100_000))
    verifier.run(SECONDS)
    return sum(drafter.num_committed for drafter in drafters) / SECONDS


def jittered(turnaround_s: float, jitter: float, rng: np.random.Generator) -> Callable[[], float]:
    return lambda: turnaround_s * float(np.exp(jitter * rng.standard_normal()))


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(f"| case | jitter | {' | '.join(POLICIES)} |")
    print("|---|---|" + "---|" * len(POLICIES))
    for case in CASES:
        for jitter in JITTERS:
            runs = {policy: [goodput(case, policy, jitter, seed) for seed in SEEDS] for policy in POLICIES}
            cells = " | ".join(f"{np.mean(values):.0f} ± {np.std(values):.0f}" for values in runs.values())
            print(f"| {case.name} | {jitter} | {cells} |")


if __name__ == "__main__":
    main()

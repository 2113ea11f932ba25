"""Goodput of the batching policies in virtual time: the verifier's core, toy drafters, a linear step time.

    python -m runs.batching_policies          (from the repository's root)

Each case: mean gap of every drafter from verdict to next proposal (log-normal jitter), and the engine's step of
base + token * tokens. "at once" never waits. Acceptance 0.7, budget 6 tokens a drafter, one endless stream each.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from goodspeed.testing.virtual_verifier import VirtualDrafter, VirtualVerifier, open_request, unlimited_info
from goodspeed.verifier.core.core_config import VerifierCoreConfig

SECONDS = 20.0
SEEDS = range(5)
JITTERS = (0.05, 0.2, 0.6)
# A barrier that waits for nobody closes at once.
POLICIES = {"deadline": ("deadline", 1.0), "barrier": ("barrier", 1.0), "at once": ("barrier", 0.0)}


@dataclass(frozen=True)
class Case:
    """Drafters and an engine."""

    name: str
    gaps_ms: tuple[float, ...]
    base_ms: float
    token_ms: float

    def step_s(self, num_tokens: int) -> float:
        return (self.base_ms + self.token_ms * num_tokens) / 1e3


CASES = (
    Case("CPU engine, lookup drafts", (2, 10, 20, 40), 50, 10),
    Case("equal gaps, weight-bound engine", (30, 30, 30, 30), 50, 1),
    Case("wide area, GPU", (20, 40, 60, 100) * 2, 20, 0.2),
    Case("three fast, one slow", (5, 5, 5, 500), 30, 3),
    Case("two fast, two slow", (5, 5, 100, 100), 40, 2),
    Case("slow drafts", (100, 100, 100, 100), 30, 6),
    Case("32 drafters, GPU", (30,) * 32, 20, 0.2),
)


def goodput(case: Case, policy: str, jitter: float, seed: int) -> float:
    """Committed tokens per second."""
    rng = np.random.default_rng(seed)
    batching, timeout_s = POLICIES[policy]
    config = VerifierCoreConfig(
        scheduler="gradient",
        draft_selection="arrival",
        batching=batching,
        barrier_timeout_s=timeout_s,
        budget=6 * len(case.gaps_ms),
    )
    verifier = VirtualVerifier(config, unlimited_info(), case.step_s)
    drafters = []
    for i, gap_ms in enumerate(case.gaps_ms):
        drafters.append(VirtualDrafter(verifier, f"drafter {i}", 0.7, jittered(gap_ms / 1e3, jitter, rng)))
        drafters[-1].open(open_request(1, prompt=(i, 1, 2), max_tokens=100_000))
    verifier.run(SECONDS)
    return sum(drafter.num_committed for drafter in drafters) / SECONDS


def jittered(gap_s: float, jitter: float, rng: np.random.Generator) -> Callable[[], float]:
    return lambda: gap_s * float(np.exp(jitter * rng.standard_normal()))


def main() -> None:
    print(f"| case | jitter | {' | '.join(POLICIES)} |")
    print("|---|---|" + "---|" * len(POLICIES))
    for case in CASES:
        for jitter in JITTERS:
            runs = {policy: [goodput(case, policy, jitter, seed) for seed in SEEDS] for policy in POLICIES}
            cells = " | ".join(f"{np.mean(values):.0f} ± {np.std(values):.0f}" for values in runs.values())
            print(f"| {case.name} | {jitter} | {cells} |")


if __name__ == "__main__":
    main()

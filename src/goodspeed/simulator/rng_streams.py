"""Random streams: one generator for each random quantity of a run.

Each generator is seeded with the run's seed and a path of its own (common random numbers). Two policies therefore see
the same arrivals, lengths, acceptance traces and link delays, whatever order they draw them in.
"""

from enum import IntEnum

import numpy as np


class Role(IntEnum):
    """The random quantities. The numbers are part of the seeds and must not change."""

    WORKLOAD = 0
    ACCEPTANCE = 1
    UPLINK = 2
    DOWNLINK = 3
    DISTANCE = 4
    DRAFTER = 5  # reconnection backoff of the drafter's core


class RngStreams:
    """The random generators of one run."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def rng(self, role: Role, *path: int) -> np.random.Generator:
        """A new generator for this role and path (tier, client, request ...); it always starts from the same state."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(role, *path)))

    def child_seed(self, role: Role, *path: int) -> int:
        """A seed of 32 bits for this role and path."""
        return int(np.random.SeedSequence(self.seed, spawn_key=(role, *path)).generate_state(1)[0])

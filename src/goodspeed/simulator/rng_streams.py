"""Where all randomness of a run comes from: one generator for each thing that is random.

Each is made from the run's seed and a path of its own (Common Random Numbers): two policies meet the same arrivals,
lengths, traces and links, however differently they ask.
"""

from enum import IntEnum

import numpy as np


class Role(IntEnum):
    """What is random (numbers are part of what a seed means)."""

    WORKLOAD = 0
    ACCEPTANCE = 1
    UPLINK = 2
    DOWNLINK = 3
    DISTANCE = 4
    DRAFTER = 5  # the pauses of its core


class RngStreams:
    """Of one run."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def rng(self, role: Role, *path: int) -> np.random.Generator:
        """The generator of this role and path (tier, client, request ...); always the same stream from its start."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(role, *path)))

    def number(self, role: Role, *path: int) -> int:
        """A seed of 32 bits, for who makes a generator of it."""
        return int(np.random.SeedSequence(self.seed, spawn_key=(role, *path)).generate_state(1)[0])

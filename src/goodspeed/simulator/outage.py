"""Times in which something of a scenario is not there."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from goodspeed.config import option
from goodspeed.errors import ConfigError
from goodspeed.protocol.link_config import Outage
from goodspeed.simulator.ranges import at_least, positive


@dataclass(frozen=True, slots=True)
class VerifierOutage:
    """A time in which one verifier of a tier is dead: what it knew is gone, and a fresh one starts at the end."""

    start_s: float  # counted from the run's start
    duration_s: float
    index: int = option(0, "which of the tier, from 0")


def check_times(what: str, outages: Sequence[Outage | VerifierOutage]) -> None:
    """Raises ConfigError unless they come one after the other."""
    for outage in outages:
        at_least(f"{what}: start_s", outage.start_s, 0.0)
        positive(f"{what}: duration_s", outage.duration_s)
    for earlier, later in itertools.pairwise(sorted(outages, key=lambda one: one.start_s)):
        if later.start_s <= earlier.start_s + earlier.duration_s:
            raise ConfigError(
                f"{what}: one begins at {later.start_s:g} s, while that from {earlier.start_s:g} s on lasts "
                f"{earlier.duration_s:g} s, expected one after the other"
            )

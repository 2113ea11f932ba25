"""Times in which a verifier or a network is down."""

import itertools
from collections.abc import Sequence

from goodspeed.config import config_dataclass, option, required
from goodspeed.errors import ConfigError
from goodspeed.protocol.link_config import Outage


@config_dataclass
class VerifierOutage:
    """A time in which one verifier of a tier is down. It loses its state and a new one starts at the end."""

    start_s: float = required(help_text="start of the outage, from the start of the run", ge=0.0)
    duration_s: float = required(help_text="length of the outage", gt=0.0)
    index: int = option(0, "index of the verifier in its tier, from 0", ge=0)


def check_times(what: str, outages: Sequence[Outage | VerifierOutage]) -> None:
    """Raises ConfigError if two outages overlap or touch."""
    for earlier, later in itertools.pairwise(sorted(outages, key=lambda outage: outage.start_s)):
        if later.start_s <= earlier.start_s + earlier.duration_s:
            raise ConfigError(
                f"{what}: one starts at {later.start_s:g} s, before the end of that which starts at "
                f"{earlier.start_s:g} s and lasts {earlier.duration_s:g} s, expected one after the other"
            )

"""The properties of an emulated link: constant, with outages, or from a trace file."""

import csv
import itertools
from pathlib import Path

from goodspeed.config import config_dataclass, option, required
from goodspeed.errors import ConfigError


@config_dataclass
class Outage:
    """A time in which the link delivers nothing."""

    start_s: float = required(help_text="start of the outage, from the start of the link", ge=0.0)
    duration_s: float = required(help_text="length of the outage", ge=0.0)


@config_dataclass
class LinkConditions:
    """A point of a trace: the properties of a link from `at_s` on."""

    at_s: float = required(help_text="from the start of the link", ge=0.0)
    rtt_ms: float = required(help_text="round-trip time", ge=0.0)
    bandwidth_mbps: float = option(0.0, "0: unlimited", ge=0.0)
    loss: float = option(0.0, "fraction of packets lost", ge=0.0, le=0.5)


@config_dataclass
class LinkConfig:
    """An emulated link; all zero: no emulation."""

    rtt_ms: float = option(0.0, "round-trip time; each direction takes half of it", ge=0.0)
    jitter: float = option(0.0, "standard deviation of the delay, as a fraction of its mean", ge=0.0, le=2.0)
    jitter_memory_ms: float = option(100.0, "correlation time of the jitter", ge=0.0)
    bandwidth_mbps: float = option(0.0, "megabits per second in each direction; 0: unlimited", ge=0.0)
    loss: float = option(0.0, "fraction of packets lost, each of which costs a retransmission timeout", ge=0.0, le=0.5)
    retransmit_ms: float = option(
        200.0, "retransmission timeout; doubles with each further loss of the same packet", ge=0.0
    )
    outages: tuple[Outage, ...] = option((), "[[outages]] tables: times in which the link delivers nothing")
    trace_file: str = option(
        "", "CSV file with the columns at_s, rtt_ms, bandwidth_mbps and loss, in place of the constants"
    )


def read_trace(path: Path) -> list[LinkConditions]:
    """The points of a trace file (see LinkConfig.trace_file). Raises ConfigError."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            points = [
                LinkConditions(**{name: float(text) for name, text in row.items()}) for row in csv.DictReader(file)
            ]
    except (OSError, UnicodeDecodeError, TypeError, ValueError) as error:
        raise ConfigError(f"cannot read the link trace {path}: {error}") from error
    if not points or any(later.at_s <= point.at_s for point, later in itertools.pairwise(points)):
        raise ConfigError(f"the link trace {path} needs rows in ascending order of at_s")
    return points

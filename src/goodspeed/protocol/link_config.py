"""What a link is like: the same all the time, with outages, or as a trace says."""

import csv
import itertools
import math
from dataclasses import dataclass
from pathlib import Path

from goodspeed.config import option
from goodspeed.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Outage:
    """A time in which nothing leaves."""

    start_s: float  # counted from the link's start
    duration_s: float


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a link is like from `at_s` on: a point of a trace."""

    at_s: float  # counted from the link's start
    rtt_ms: float
    bandwidth_mbps: float = 0.0  # 0 = unlimited
    loss: float = 0.0

    def __post_init__(self) -> None:
        for name in ("at_s", "rtt_ms", "bandwidth_mbps"):
            _check(name, getattr(self, name), math.inf)
        _check("loss", self.loss, 0.5)


@dataclass(frozen=True, slots=True)
class LinkConfig:
    """An emulated link; all zero is no emulation. Raises ConfigError for values out of range."""

    rtt_ms: float = option(0.0, "round-trip time; each direction takes half of it")
    jitter: float = option(0.0, "standard deviation of the delay, as a fraction of its mean")
    jitter_memory_ms: float = option(100.0, "time over which the jitter stays correlated")
    bandwidth_mbps: float = option(0.0, "megabits per second in each direction; 0 = unlimited")
    loss: float = option(0.0, "fraction of packets lost, each of which costs a retransmission timeout")
    retransmit_ms: float = option(200.0, "retransmission timeout; doubles with each further loss of the same packet")
    outages: tuple[Outage, ...] = option((), "times in which nothing leaves")
    trace_file: str = option("", "CSV with the columns at_s, rtt_ms, bandwidth_mbps, loss, in place of the constants")

    def __post_init__(self) -> None:
        for name in ("rtt_ms", "bandwidth_mbps", "retransmit_ms", "jitter_memory_ms"):
            _check(name, getattr(self, name), math.inf)
        _check("jitter", self.jitter, 2.0)
        _check("loss", self.loss, 0.5)
        for outage in self.outages:
            _check("outages.start_s", outage.start_s, math.inf)
            _check("outages.duration_s", outage.duration_s, math.inf)


def read_trace(path: Path) -> list[Conditions]:
    """The points of a trace file (see LinkConfig.trace_file). Raises ConfigError."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            points = [Conditions(**{name: float(text) for name, text in row.items()}) for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, TypeError, ValueError) as error:
        raise ConfigError(f"cannot read the link trace {path}: {error}") from error
    if not points or any(later.at_s <= point.at_s for point, later in itertools.pairwise(points)):
        raise ConfigError(f"the link trace {path} needs rows in ascending order of at_s")
    return points


def _check(name: str, value: float, most: float) -> None:
    if not 0.0 <= value <= most:
        raise ConfigError(f"{name} is {value}, expected 0 to {most}")

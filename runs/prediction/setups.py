"""What is predicted: how many drafters, and how far from the verifier; and what is only measured to calibrate."""

from collections.abc import Sequence
from dataclasses import dataclass

from goodspeed.bench.comparison import BenchClient
from goodspeed.bench.experiment import client_of
from goodspeed.prompts.prompts import DOMAINS

SEED = 0
ALL_DOMAINS = "all"
SCHEDULER = "gradient"
"""Under which streams draft wherever they are, so that every link is seen; by time the far ones would go on alone."""


@dataclass(frozen=True, slots=True)
class LinkSetting:
    """Round trips of the drafters, in turns."""

    name: str
    rtts_ms: tuple[float, ...]
    jitter: float = 0.0


LINKS = (
    LinkSetting("loopback", (0.0,)),
    LinkSetting("20 ms", (20.0,)),
    LinkSetting("unlike", (50.0, 5.0, 20.0, 80.0), jitter=0.2),
)


@dataclass(frozen=True, slots=True)
class Place:
    """One drafter's."""

    name: str
    domain: str
    rtt_ms: float
    jitter: float

    def client(self) -> BenchClient:
        """Its user; a single one asks of all domains, in turns."""
        if self.domain != ALL_DOMAINS:
            return client_of(self.name, self.domain, SEED)
        shelves = [client_of(self.name, domain, SEED).prompts for domain in DOMAINS]
        return BenchClient(self.name, tuple(prompt for prompts in zip(*shelves, strict=True) for prompt in prompts))


@dataclass(frozen=True, slots=True)
class Setup:
    """So many drafters at such links; each user asks so much."""

    num_drafters: int
    link: LinkSetting
    requests: int  # of each user, per repetition
    repetitions: int = 3

    @property
    def name(self) -> str:
        """Also of its files."""
        return f"{self.num_drafters}-{self.link.name.replace(' ', '')}"

    def places(self) -> list[Place]:
        """In the order of their names."""
        rtts = self.link.rtts_ms
        return [
            Place(
                f"client{number}",
                ALL_DOMAINS if self.num_drafters == 1 else DOMAINS[number % len(DOMAINS)],
                rtts[number % len(rtts)],
                self.link.jitter,
            )
            for number in range(self.num_drafters)
        ]


REQUESTS = {1: 12, 4: 8, 8: 6}


def predicted(nums_drafters: Sequence[int]) -> list[Setup]:
    """Every number of drafters at every link setting."""
    return [Setup(num, link, REQUESTS.get(num, 6)) for num in nums_drafters for link in LINKS]


CALIBRATION = (
    Setup(2, LINKS[0], 8, repetitions=2),
    Setup(6, LINKS[0], 5, repetitions=2),
    Setup(3, LINKS[1], 6, repetitions=2),
)
"""None of them is predicted; host times are measured and fitted on them."""

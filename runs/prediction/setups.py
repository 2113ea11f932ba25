"""The set-ups that are predicted, and those that calibrate: number of drafters and their links."""

from collections.abc import Sequence
from dataclasses import dataclass

from goodspeed.bench.comparison import BenchClient
from goodspeed.bench.experiment import client_of
from goodspeed.prompts.prompts import DOMAINS

SEED = 0
ALL_DOMAINS = "all"
SCHEDULER = "gradient"
"""It drafts over every link. The time-aware scheduler would put far streams into target-only mode."""


@dataclass(frozen=True, slots=True)
class LinkSetting:
    """Round-trip times that the drafters get in turn."""

    name: str
    rtts_ms: tuple[float, ...]
    jitter: float = 0.0


LINKS = (
    LinkSetting("loopback", (0.0,)),
    LinkSetting("20 ms", (20.0,)),
    LinkSetting("unlike", (50.0, 5.0, 20.0, 80.0), jitter=0.2),
)


@dataclass(frozen=True, slots=True)
class SetupClient:
    """The client of one drafter."""

    name: str
    domain: str
    rtt_ms: float
    jitter: float

    def client(self) -> BenchClient:
        """The client for the load generator; a single client has the prompts of all domains in turn."""
        if self.domain != ALL_DOMAINS:
            return client_of(self.name, self.domain, SEED)
        by_domain = [client_of(self.name, domain, SEED).prompts for domain in DOMAINS]
        return BenchClient(self.name, tuple(prompt for prompts in zip(*by_domain, strict=True) for prompt in prompts))


@dataclass(frozen=True, slots=True)
class PredictionSetup:
    """A number of drafters with their links, and the requests of each user."""

    num_drafters: int
    link: LinkSetting
    requests: int  # of each user, per repetition
    repetitions: int = 3

    @property
    def name(self) -> str:
        """Also the name of its files."""
        return f"{self.num_drafters}-{self.link.name.replace(' ', '')}"

    def clients(self) -> list[SetupClient]:
        """The clients in the order of their names."""
        rtts = self.link.rtts_ms
        return [
            SetupClient(
                f"client{number}",
                ALL_DOMAINS if self.num_drafters == 1 else DOMAINS[number % len(DOMAINS)],
                rtts[number % len(rtts)],
                self.link.jitter,
            )
            for number in range(self.num_drafters)
        ]


REQUESTS = {1: 12, 4: 8, 8: 6}


def predicted(nums_drafters: Sequence[int]) -> list[PredictionSetup]:
    """Every number of drafters at every link setting."""
    return [PredictionSetup(num, link, REQUESTS.get(num, 6)) for num in nums_drafters for link in LINKS]


CALIBRATION = (
    PredictionSetup(2, LINKS[0], 8, repetitions=2),
    PredictionSetup(6, LINKS[0], 5, repetitions=2),
    PredictionSetup(3, LINKS[1], 6, repetitions=2),
)
"""These set-ups are not predicted. Host times are measured and fitted on them."""

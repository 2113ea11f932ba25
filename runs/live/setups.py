"""The set-ups of the live experiments: who drafts with what, for which users, over which links, under which budget."""

from dataclasses import dataclass

from goodspeed.cluster.arms import core_options
from goodspeed.config import from_mapping
from goodspeed.protocol.link_config import LinkConfig
from goodspeed.registry import Registry
from goodspeed.verifier.core.core_config import VerifierCoreConfig


@dataclass(frozen=True, slots=True)
class Device:
    """One draft server and what its user asks."""

    domain: str
    draft: str  # engine
    num_lessons: int = 0
    """Answers of the target to other prompts of the domain that the draft has learned from before a run."""
    link: LinkConfig | None = None
    pace_ms: float = 0.0
    """Drafting time per token of the device that it stands for."""


@dataclass(frozen=True, slots=True)
class Setup:
    """A row of the paper's table of set-ups, or one of ours."""

    devices: tuple[Device, ...]
    budget: int
    max_tokens: int
    batching: str = "barrier"

    def core(self, arm: str, seed: int) -> VerifierCoreConfig:
        """The verifier's, for an arm (bench.arms). Raises ConfigError for an unknown scheduler or option."""
        ours: dict[str, object] = {
            "budget": self.budget,
            "max_proposal": self.budget,
            "batching": self.batching,
            "seed": seed,
        }
        config: VerifierCoreConfig = from_mapping(VerifierCoreConfig, ours | core_options(arm))
        return config


FOUR = (
    Device("copying", "lookup"),
    Device("maths", "hybrid", num_lessons=24),
    Device("coding", "hybrid"),
    Device("stories", "table"),
)
EIGHT = (
    *FOUR,
    Device("correcting", "hybrid"),
    Device("records", "lookup"),
    Device("travel", "table", num_lessons=24),
    Device("explaining", "hybrid"),
)


def _far(rtt_ms: float) -> LinkConfig:
    return LinkConfig(rtt_ms=rtt_ms, jitter=0.2)


FAR_FOUR = (
    Device("copying", "lookup", link=_far(20.0)),
    Device("maths", "hybrid", num_lessons=24, link=_far(5.0), pace_ms=12.0),
    Device("coding", "hybrid", link=_far(80.0)),
    Device("stories", "table", link=_far(50.0)),
)

SETUPS: Registry[Setup] = Registry(
    "set-up",
    {
        "n4-c24": Setup(FOUR, budget=24, max_tokens=50),
        "n4-c28": Setup(FOUR, budget=28, max_tokens=50),
        "n8-c16": Setup(EIGHT, budget=16, max_tokens=150),
        "n8-c20": Setup(EIGHT, budget=20, max_tokens=150),
        "links-n4-c24": Setup(FAR_FOUR, budget=24, max_tokens=150, batching="deadline"),
    },
)
PAPER = ("n4-c24", "n4-c28", "n8-c16", "n8-c20")
LINKS = ("links-n4-c24",)
PER_ROUND = "gradient,draft_selection=value,overcommit=1.5,time_price=0.25"
"""GoodSpeed where rounds count and the budget binds: more is drafted than verified, and time counts a little."""

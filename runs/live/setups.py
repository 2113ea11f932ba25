"""Set-ups of the live experiments: draft engines, prompt domains, links and budgets."""

from dataclasses import dataclass

from goodspeed.cluster.arms import core_options
from goodspeed.config import from_mapping
from goodspeed.protocol.link_config import LinkConfig
from goodspeed.registry import Registry
from goodspeed.verifier.core.core_config import VerifierCoreConfig


@dataclass(frozen=True, slots=True)
class DraftDevice:
    """One drafter and the prompt domain of its user."""

    domain: str
    draft: str  # engine
    num_warm_up: int = 0
    """Answers to other prompts of the domain that warm up the draft before a run."""
    link: LinkConfig | None = None
    pace_ms: float = 0.0
    """Drafting time per token of the device that is emulated."""


@dataclass(frozen=True, slots=True)
class LiveSetup:
    """A set-up of the paper's table, or an additional one."""

    devices: tuple[DraftDevice, ...]
    budget: int
    max_tokens: int
    batching: str = "barrier"

    def core(self, arm: str, seed: int) -> VerifierCoreConfig:
        """The verifier's config for an arm (cluster.arms). Raises ConfigError for an unknown scheduler or option."""
        options: dict[str, object] = {
            "budget": self.budget,
            "max_proposal": self.budget,
            "batching": self.batching,
            "seed": seed,
        }
        config: VerifierCoreConfig = from_mapping(VerifierCoreConfig, options | core_options(arm))
        return config


FOUR = (
    DraftDevice("copying", "lookup"),
    DraftDevice("maths", "hybrid", num_warm_up=24),
    DraftDevice("coding", "hybrid"),
    DraftDevice("stories", "table"),
)
EIGHT = (
    *FOUR,
    DraftDevice("correcting", "hybrid"),
    DraftDevice("records", "lookup"),
    DraftDevice("travel", "table", num_warm_up=24),
    DraftDevice("explaining", "hybrid"),
)


def _link(rtt_ms: float) -> LinkConfig:
    return LinkConfig(rtt_ms=rtt_ms, jitter=0.2)


FAR_FOUR = (
    DraftDevice("copying", "lookup", link=_link(20.0)),
    DraftDevice("maths", "hybrid", num_warm_up=24, link=_link(5.0), pace_ms=12.0),
    DraftDevice("coding", "hybrid", link=_link(80.0)),
    DraftDevice("stories", "table", link=_link(50.0)),
)

SETUPS: Registry[LiveSetup] = Registry(
    "set-up",
    {
        "n4-c24": LiveSetup(FOUR, budget=24, max_tokens=50),
        "n4-c28": LiveSetup(FOUR, budget=28, max_tokens=50),
        "n8-c16": LiveSetup(EIGHT, budget=16, max_tokens=150),
        "n8-c20": LiveSetup(EIGHT, budget=20, max_tokens=150),
        "links-n4-c24": LiveSetup(FAR_FOUR, budget=24, max_tokens=150, batching="deadline"),
    },
)
PAPER = ("n4-c24", "n4-c28", "n8-c16", "n8-c20")
LINKS = ("links-n4-c24",)
PER_ROUND = "gradient,draft_selection=value,overcommit=1.5,time_price=0.25"
"""GoodSpeed for goodput per round with a binding budget: drafts exceed the budget, and time has a small price."""

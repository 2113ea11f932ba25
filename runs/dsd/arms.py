"""The configurations that are compared: who drafts, how long, where, and what is verified."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from goodspeed.windows.awc.network import PACKAGED

MAX_WINDOW = 12
BATCH_LIMIT = 14
"""Most requests of a batch in DSD's public code."""
STATIC_WINDOWS = (1, 2, 3, 4, 6, 8)
"""From which the oracle chooses, on other seeds."""


@dataclass(frozen=True, slots=True)
class Arm:
    """A configuration. Empty tables and a budget of 0 are the defaults."""

    mode: str = "distributed"
    routing: str = "jsq"
    window: Mapping[str, Any] = field(default_factory=dict)
    core: Mapping[str, Any] = field(default_factory=dict)
    budget_per_drafter: int = 0  # draft tokens
    has_co_located: bool = False
    is_clairvoyant: bool = False


PAPER = {"scheduler": "fixed", "draft_selection": "arrival"}
BY_SURVIVAL = {"scheduler": "fixed", "draft_selection": "survival"}
BATCHES = {"max_batch_streams": BATCH_LIMIT}
BY_LENGTH = PAPER | BATCHES | {"ordering": "length_aware"}


def windowed(policy: str, max_tokens: int = MAX_WINDOW) -> Arm:
    """A window policy under the verifier of the papers: equal grants that hold every window."""
    return Arm(window={"policy": policy, "max_tokens": max_tokens}, core=PAPER, budget_per_drafter=MAX_WINDOW)


TARGET_ONLY, CO_LOCATED, DEFAULT, STATIC_4 = "target-only", "co-located", "default", "static 4"
AWC = {"awc": windowed("awc"), "awc, co-located": replace(windowed("awc"), has_co_located=True)}
ARMS: dict[str, Arm] = {
    TARGET_ONLY: Arm(mode="target_only"),
    DEFAULT: Arm(has_co_located=True),
    STATIC_4: windowed("fixed", 4),
    CO_LOCATED: Arm(mode="co_located", has_co_located=True),
    "default, drafters only": Arm(),
    "threshold": windowed("threshold"),
    "analytic": windowed("analytic"),
    "ucb": windowed("ucb"),
    "survival, static 4": Arm(window={"policy": "fixed", "max_tokens": 4}, core=BY_SURVIVAL),
    "survival, confidence": Arm(core=BY_SURVIVAL),
    **(AWC if PACKAGED.exists() else {}),
    **{f"static {window}": windowed("fixed", window) for window in STATIC_WINDOWS if window != 4},
    "clairvoyant, default": Arm(has_co_located=True, is_clairvoyant=True),
    "clairvoyant, up to 8": replace(windowed("confidence", 8), is_clairvoyant=True),
}
STACK_ARMS: dict[str, Arm] = {
    "static 4 + random + fifo": replace(ARMS[STATIC_4], core=PAPER | BATCHES, routing="random"),
    "static 4 + round robin + fifo": replace(ARMS[STATIC_4], core=PAPER | BATCHES, routing="round_robin"),
    "static 4 + jsq + fifo": replace(ARMS[STATIC_4], core=PAPER | BATCHES),
    "static 4 + jsq + lab": replace(ARMS[STATIC_4], core=BY_LENGTH),
    **({"awc + jsq + lab": replace(AWC["awc"], core=BY_LENGTH)} if PACKAGED.exists() else {}),
    "default + jsq + lab": replace(ARMS[DEFAULT], core=BATCHES | {"ordering": "length_aware"}),
    "default + jsq + fifo": replace(ARMS[DEFAULT], core=BATCHES),
    "target-only + jsq + fifo": replace(ARMS[TARGET_ONLY], core=BATCHES),
    "default + random, no limit of a batch": replace(ARMS[DEFAULT], routing="random"),
    "default + round robin, no limit of a batch": replace(ARMS[DEFAULT], routing="round_robin"),
}
"""The paper's stack of policies, in which a batch has BATCH_LIMIT requests at most."""
STACK_FAMILY = "stack"


def arms_of(family: str) -> Mapping[str, Arm]:
    """The arms of a family of set-ups."""
    return STACK_ARMS if family == STACK_FAMILY else ARMS


def apply(arm: Arm, values: dict[str, Any], drafters_per_verifier: float) -> None:
    """Put the arm into the values of a scenario."""
    values |= {"routing": arm.routing, "mode": arm.mode}
    budget = {"budget": round(arm.budget_per_drafter * drafters_per_verifier)} if arm.budget_per_drafter else {}
    for tier in values["verifiers"]:
        tier["core"] = {"prefill_chunk": 512, "batching": "deadline", **arm.core, **budget}
    for tier in values["drafters"]:
        tier["window"] = dict(arm.window)
        if not arm.has_co_located:
            del tier["co_located_acceptance"]
        if arm.is_clairvoyant:
            for acceptance in (tier["acceptance"], tier.get("co_located_acceptance", {})):
                acceptance["confidence"] = {"is_exact": True}

"""The arms of a sweep: every window in remote mode, co-located drafting, and target-only mode."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from goodspeed.awc.scenarios import CO_LOCATED_TOKENS, PREFILL_CHUNK
from goodspeed.simulator.scenario import Scenario
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.windows.policies import WindowConfig

MAX_WINDOW: Final = 12
"""As in the paper."""
BUDGET_TOKENS: Final = 16
"""Draft tokens of the budget for each client: it binds no window."""
FIXED_CORE: Final = VerifierCoreConfig(
    scheduler="fixed", draft_selection="arrival", prefill_chunk=PREFILL_CHUNK, co_located_tokens=0
)
"""A verifier that leaves the windows to the drafters."""
CO_LOCATED_CORE: Final = VerifierCoreConfig(
    scheduler="fixed", prefill_chunk=PREFILL_CHUNK, co_located_tokens=CO_LOCATED_TOKENS
)
"""The same with co-located drafts."""


@dataclass(frozen=True, slots=True)
class Arm:
    """What all clients of a scenario do."""

    name: str
    mode: str
    core: VerifierCoreConfig
    window: WindowConfig | None = None  # None: the scenario's, which is the default

    def of(self, scenario: Scenario) -> Scenario:
        """The scenario with this arm."""
        budget = BUDGET_TOKENS * len(scenario.drafters) if self.core.scheduler == "fixed" else 0
        (verifier,) = scenario.verifiers
        return replace(
            scenario,
            mode=self.mode,
            verifiers=(replace(verifier, core=replace(self.core, budget=budget)),),
            drafters=tuple(replace(tier, window=self.window or tier.window) for tier in scenario.drafters),
        )


def remote_arm(window: int) -> Arm:
    """A fixed window in remote mode."""
    return Arm(f"remote {window}", "distributed", FIXED_CORE, WindowConfig("fixed", window))


TARGET_ONLY: Final = Arm("target_only", "target_only", FIXED_CORE)
CO_LOCATED: Final = Arm("co_located", "co_located", CO_LOCATED_CORE)
WINDOWS: Final = tuple(range(1, MAX_WINDOW + 1))
DEFAULT: Final = Arm("default", "distributed", VerifierCoreConfig(prefill_chunk=PREFILL_CHUNK))
"""The policies of a server without a configuration."""


def swept_arms(scenario: Scenario, windows: Sequence[int] = WINDOWS) -> tuple[Arm, ...]:
    """The arms that are compared in this scenario: without co-located drafts that mode is target-only mode."""
    has_co_located = any(tier.co_located_acceptance for tier in scenario.drafters)
    return (*map(remote_arm, windows), TARGET_ONLY, *((CO_LOCATED,) if has_co_located else ()))

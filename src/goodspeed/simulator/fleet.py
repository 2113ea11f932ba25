"""The drafters of one tier: each with its core, its device, its links and its user."""

from collections.abc import Sequence

import numpy as np

from goodspeed.drafter.core.core import DrafterCore
from goodspeed.drafter.core.core_config import DrafterCoreConfig
from goodspeed.drafter.core.run_ahead import RunAheadCounts
from goodspeed.drafter.event_logging import LoggedDrafterCore
from goodspeed.simulator.acceptance.acceptance_model import AnswerTraces
from goodspeed.simulator.acceptance.models import acceptance_model
from goodspeed.simulator.draft import SimulatedDraftEngine
from goodspeed.simulator.drafter import DrafterParts, SimulatedDrafter
from goodspeed.simulator.environment import Environment
from goodspeed.simulator.prompt_text import PromptTexts
from goodspeed.simulator.rng_streams import Role
from goodspeed.simulator.routes import Routes
from goodspeed.simulator.scenario import Scenario
from goodspeed.simulator.uplink import SimulatedUplink
from goodspeed.simulator.user import SimulatedUser
from goodspeed.simulator.verifier import SimulatedVerifier
from goodspeed.simulator.wire import Route, VerifierEnd
from goodspeed.simulator.workload.workloads import workload


class Fleet:
    """The drafters of one tier. Raises ConfigError if a file that the tier names cannot be read."""

    def __init__(self, environment: Environment, scenario: Scenario, index: int) -> None:
        tier = scenario.drafters[index]
        self.run_ahead_counts: list[RunAheadCounts] = []
        """Of each drafter."""
        self.routes = Routes(environment.kernel, environment.rng_streams, index, tier)
        self._environment = environment
        self._index = index
        self._tier = tier
        self._mode = scenario.mode_of(tier)
        self._routing = scenario.routing_of(tier)
        self._latency = tier.latency.model()
        self._acceptance = acceptance_model(tier.acceptance)
        self._co_located = acceptance_model(tier.co_located_acceptance) if tier.co_located_acceptance else None
        self._workload = workload(tier.workload, tier.count)

    def start_drafter(self, number: int, verifiers: Sequence[SimulatedVerifier]) -> None:
        """Start the drafter of this number, with its user. It knows these verifiers."""
        environment, kernel = self._environment, self._environment.kernel
        name = f"{self._tier.name}-{number}"
        core = self._core(name, number, len(verifiers))
        self.run_ahead_counts.append(core.run_ahead_counts)
        slot = environment.placement.slot()

        def find_route(verifier: int) -> tuple[VerifierEnd, Route]:
            identity = verifiers[verifier].identity
            return verifiers[verifier], environment.placement.route(
                self.routes.route(number, identity.number), slot, identity.slot
            )

        def traces_of(request: int) -> AnswerTraces:
            path = (Role.ACCEPTANCE, self._index, number, request)
            drafter = self._acceptance.new_trace(number, request, environment.rng_streams.rng(*path))
            if self._co_located is None:
                return AnswerTraces(drafter)
            return AnswerTraces(
                drafter, self._co_located.new_trace(number, request, environment.rng_streams.rng(*path))
            )

        parts = DrafterParts(
            core,
            SimulatedDraftEngine(self._latency),
            SimulatedUplink(kernel, core, find_route, environment.tracer),
            slot,
        )
        drafter = SimulatedDrafter(environment, name, parts, self._mode)
        max_tokens = min(verifier.max_tokens for verifier in verifiers)
        user = SimulatedUser(kernel, environment.counters, drafter, PromptTexts((self._index, number)), max_tokens)
        requests = self._workload.requests(number, environment.rng_streams.rng(Role.WORKLOAD, self._index, number))
        drafter.start()
        kernel.start(user.run(requests, traces_of))
        for cut in self._tier.cuts:
            kernel.start(parts.uplink.cut(cut))

    def _core(self, name: str, number: int, num_verifiers: int) -> DrafterCore:
        tier = self._tier
        config = DrafterCoreConfig(num_verifiers, tier.window, tier.retry, self._routing, tier.run_ahead)
        seed = self._environment.rng_streams.child_seed(Role.DRAFTER, self._index, number)
        if self._environment.events_of is None:
            window_of = self._environment.window_of
            window = window_of(name, tier.window) if window_of else None
            return DrafterCore(config, np.random.default_rng(seed), window)
        return LoggedDrafterCore(config, seed, self._environment.events_of(name), self._environment.kernel.now_s)

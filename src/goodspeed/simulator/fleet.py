"""One tier's drafters: each with its core, its device, its links and its user."""

from collections.abc import Sequence

import numpy as np

from goodspeed.drafter.core.core import DrafterCore
from goodspeed.drafter.core.core_config import DrafterCoreConfig
from goodspeed.drafter.event_logging import LoggedDrafterCore
from goodspeed.simulator.acceptance.acceptance_model import Tape
from goodspeed.simulator.acceptance.models import acceptance_model
from goodspeed.simulator.draft import TapedDraft
from goodspeed.simulator.drafter import Parts, SimulatedDrafter
from goodspeed.simulator.environment import Surroundings
from goodspeed.simulator.rng_streams import Role
from goodspeed.simulator.routes import Routes
from goodspeed.simulator.scenario import Scenario
from goodspeed.simulator.uplink import Uplink
from goodspeed.simulator.user import User
from goodspeed.simulator.verifier import SimulatedVerifier
from goodspeed.simulator.wire import Route, VerifierEnd
from goodspeed.simulator.workload.workloads import workload


class Fleet:
    """The drafters of one tier; `begin` each. Raises ConfigError if a file that the tier names cannot be read."""

    def __init__(self, around: Surroundings, scenario: Scenario, index: int) -> None:
        tier = scenario.drafters[index]
        self.routes = Routes(around.kernel, around.luck, index, tier)
        self._around = around
        self._index = index
        self._tier = tier
        self._mode = scenario.mode_of(tier)
        self._routing = scenario.routing_of(tier)
        self._latency = tier.latency.model()
        self._acceptance = acceptance_model(tier.acceptance)
        self._workload = workload(tier.workload, tier.count)

    def begin(self, number: int, verifiers: Sequence[SimulatedVerifier]) -> None:
        """Let the drafter of this number live, from now on; it knows these verifiers."""
        around, kernel = self._around, self._around.kernel
        name = f"{self._tier.name}-{number}"
        core = self._core(name, number, len(verifiers))
        seat = around.hosting.seat()

        def find_way(verifier: int) -> tuple[VerifierEnd, Route]:
            place = verifiers[verifier].place
            return verifiers[verifier], around.hosting.route(self.routes.route(number, place.number), seat, place.seat)

        def tape_of(request: int) -> Tape:
            rng = around.luck.rng(Role.ACCEPTANCE, self._index, number, request)
            return self._acceptance.tape(number, request, rng)

        parts = Parts(core, TapedDraft(self._latency), Uplink(kernel, core, find_way, around.trace), seat)
        drafter = SimulatedDrafter(around, name, parts, self._mode)
        user = User(kernel, around.tally, drafter, min(verifier.most_tokens for verifier in verifiers))
        asks = self._workload.asks(number, around.luck.rng(Role.WORKLOAD, self._index, number))
        drafter.begin()
        kernel.start(user.run(asks, tape_of))
        for cut in self._tier.cuts:
            kernel.start(parts.uplink.cut(cut))

    def _core(self, name: str, number: int, num_verifiers: int) -> DrafterCore:
        config = DrafterCoreConfig(num_verifiers, self._tier.window, self._tier.retry, self._routing)
        seed = self._around.luck.number(Role.DRAFTER, self._index, number)
        if self._around.events_of is None:
            return DrafterCore(config, np.random.default_rng(seed))
        return LoggedDrafterCore(config, seed, self._around.events_of(name), self._around.kernel.now_s)

"""A run: everybody who is in a scenario is made, connected and let live."""

import contextlib
import gc
from collections.abc import Iterator
from dataclasses import replace

from goodspeed.simulator.answer_in_progress import Tally
from goodspeed.simulator.environment import EventsOf, Surroundings
from goodspeed.simulator.fleet import Fleet
from goodspeed.simulator.kernel import Kernel, duration_ns
from goodspeed.simulator.placement import OwnMachines, SharedMachine
from goodspeed.simulator.result import RunResult
from goodspeed.simulator.rng_streams import Luck
from goodspeed.simulator.scenario import DrafterTier, Scenario, VerifierTier
from goodspeed.simulator.target import TapedTarget, target_info
from goodspeed.simulator.tracing import Trace
from goodspeed.simulator.verifier import Place, SimulatedVerifier
from goodspeed.verifier.core.core import VerifierCore
from goodspeed.verifier.event_logging import LoggedVerifierCore


def simulate(
    scenario: Scenario, seed: int | None = None, events_of: EventsOf | None = None, num_traced: int = 0
) -> RunResult:
    """Run the scenario; `seed` stands in for its own. The first `num_traced` requests leave spans.

    The same scenario and seed give the same result and the same event logs, everywhere. Raises ConfigError for what
    only shows when the scenario's files are read and its first requests come.
    """
    kernel = Kernel()
    luck = Luck(scenario.seed if seed is None else seed)
    hosting = SharedMachine(kernel, scenario.machine) if scenario.machine.cores else OwnMachines(kernel)
    around = Surroundings(kernel, luck, Tally(), Trace(kernel, num_traced), hosting, events_of)
    with uncollected():
        return World(scenario, around).run()


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Without the collector of cyclic garbage: nobody here leaves any behind, and it would look at everybody's state
    again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class World:
    """Everybody in a scenario."""

    def __init__(self, scenario: Scenario, around: Surroundings) -> None:
        self._scenario = scenario
        self._around = around
        self._verifiers = [
            self._begin_verifier(number, tier, index)
            for number, (tier, index) in enumerate((tier, i) for tier in scenario.verifiers for i in range(tier.count))
        ]
        self._fleets = [Fleet(around, scenario, index) for index in range(len(scenario.drafters))]
        num_begun = 0
        for fleet, tier in zip(self._fleets, scenario.drafters, strict=True):
            for number in range(tier.count):
                fleet.begin(number, self._known(tier, num_begun))
                num_begun += 1

    def run(self) -> RunResult:
        """From the beginning to the scenario's end."""
        self._around.kernel.run(duration_ns(self._scenario.duration_s))
        tally, routes = self._around.tally, [fleet.routes for fleet in self._fleets]
        return RunResult(
            seed=self._around.luck.seed,
            simulated_s=self._scenario.duration_s,
            answers=tuple(tally.answers),
            verifiers=tuple(verifier.record() for verifier in self._verifiers),
            num_unfinished=tally.num_asked - len(tally.answers) - tally.num_failed,
            num_failed=tally.num_failed,
            num_rounds=tally.num_rounds,
            num_bytes_up=sum(one.up_meter.num_bytes for one in routes),
            num_bytes_down=sum(one.down_meter.num_bytes for one in routes),
            spans=tuple(self._around.trace.spans),
        )

    def _begin_verifier(self, number: int, tier: VerifierTier, index: int) -> SimulatedVerifier:
        around = self._around
        config = replace(tier.core, name=f"{tier.name}-{index}")
        info = target_info(tier.kv_capacity, tier.max_context)
        events = around.events_of(config.name) if around.events_of else None

        def new_core() -> VerifierCore | LoggedVerifierCore:
            """Each life of a server goes on in the same log with a start event of its own, as live."""
            if events is None:
                return VerifierCore(config, info)
            return LoggedVerifierCore(config, info, events, around.kernel.now_s)

        place = Place(number, tier.name, config.name, around.hosting.seat())
        verifier = SimulatedVerifier(around.kernel, place, new_core, TapedTarget(info, tier.latency.model()))
        around.kernel.start(verifier.run())
        for outage in tier.outages:
            if outage.index == index:
                around.kernel.start(verifier.fail(outage))
        return verifier

    def _known(self, tier: DrafterTier, num_begun: int) -> list[SimulatedVerifier]:
        """Whom a drafter may dial: the first one differs from drafter to drafter, so that they spread evenly."""
        reachable = [one for one in self._verifiers if not tier.verifiers or one.place.tier in tier.verifiers]
        first = num_begun % len(reachable)
        return (reachable[first:] + reachable[:first])[: tier.fan_out or len(reachable)]

"""A simulated run: builds the servers, links and users of a scenario, and runs them."""

import contextlib
import gc
from collections.abc import Iterator
from dataclasses import replace

from goodspeed.simulator.answer_in_progress import RunCounters
from goodspeed.simulator.co_located import ExpectedStreams, SimulatedCoLocatedDrafts
from goodspeed.simulator.environment import Environment, EventsOf, WindowOf
from goodspeed.simulator.fleet import Fleet
from goodspeed.simulator.kernel import Kernel, duration_ns
from goodspeed.simulator.placement import DedicatedMachines, SharedMachine
from goodspeed.simulator.result import RunAheadRecord, RunResult
from goodspeed.simulator.rng_streams import RngStreams
from goodspeed.simulator.scenario import DrafterTier, Scenario, VerifierTier
from goodspeed.simulator.target import SimulatedTargetEngine, target_info
from goodspeed.simulator.tracing import RequestTracer
from goodspeed.simulator.verifier import SimulatedEngines, SimulatedVerifier, VerifierIdentity
from goodspeed.verifier.core.core import VerifierCore
from goodspeed.verifier.event_logging import LoggedVerifierCore


def simulate(
    scenario: Scenario,
    seed: int | None = None,
    events_of: EventsOf | None = None,
    num_traced: int = 0,
    window_of: WindowOf | None = None,
) -> RunResult:
    """Run the scenario, under `seed` if given. The first `num_traced` requests are recorded as spans.

    `window_of` makes the drafters' window policies in place of those that the scenario names. A run with event logs
    keeps the scenario's, for a log is replayed by its configuration.

    The same scenario and seed give the same result and the same event logs on every machine. Raises ConfigError for a
    file that the scenario names and that cannot be read, and for first requests that fit no verifier.
    """
    kernel = Kernel()
    rng_streams = RngStreams(scenario.seed if seed is None else seed)
    placement = SharedMachine(kernel, scenario.machine) if scenario.machine.cores else DedicatedMachines(kernel)
    environment = Environment(
        kernel,
        rng_streams,
        RunCounters(),
        RequestTracer(kernel, num_traced),
        placement,
        events_of,
        ExpectedStreams(),
        window_of,
    )
    with without_gc():
        return SimulatedWorld(scenario, environment).run()


@contextlib.contextmanager
def without_gc() -> Iterator[None]:
    """Disable the cyclic garbage collector: a run makes no cycles, and each collection would scan all its state."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class SimulatedWorld:
    """All servers, links and users of a scenario."""

    def __init__(self, scenario: Scenario, environment: Environment) -> None:
        self._scenario = scenario
        self._environment = environment
        self._verifiers = [
            self._start_verifier(number, tier, index)
            for number, (tier, index) in enumerate((tier, i) for tier in scenario.verifiers for i in range(tier.count))
        ]
        self._fleets = [Fleet(environment, scenario, index) for index in range(len(scenario.drafters))]
        num_started = 0
        for fleet, tier in zip(self._fleets, scenario.drafters, strict=True):
            for number in range(tier.count):
                fleet.start_drafter(number, self._known(tier, num_started))
                num_started += 1

    def run(self) -> RunResult:
        """Run to the end of the scenario."""
        self._environment.kernel.run(duration_ns(self._scenario.duration_s))
        counters, routes = self._environment.counters, [fleet.routes for fleet in self._fleets]
        return RunResult(
            seed=self._environment.rng_streams.seed,
            simulated_s=self._scenario.duration_s,
            answers=tuple(counters.answers),
            verifiers=tuple(verifier.record() for verifier in self._verifiers),
            num_unfinished=counters.num_requested - len(counters.answers) - counters.num_failed,
            num_failed=counters.num_failed,
            num_rounds=counters.num_rounds,
            num_bytes_up=sum(route.up_meter.num_bytes for route in routes),
            num_bytes_down=sum(route.down_meter.num_bytes for route in routes),
            spans=tuple(self._environment.tracer.spans),
            run_ahead=self._run_ahead(),
            unfinished=tuple(answer.unfinished_record() for answer in counters.in_progress.values()),
        )

    def _run_ahead(self) -> RunAheadRecord:
        counts = [counts for fleet in self._fleets for counts in fleet.run_ahead_counts]
        return RunAheadRecord(
            num_hits=sum(one.num_hits for one in counts),
            num_misses=sum(one.num_misses for one in counts),
            num_drafted=sum(one.num_drafted for one in counts),
            num_used=sum(one.num_used for one in counts),
        )

    def _start_verifier(self, number: int, tier: VerifierTier, index: int) -> SimulatedVerifier:
        environment = self._environment
        config = replace(tier.core, name=f"{tier.name}-{index}")
        co_located = None
        if any(drafters.co_located_acceptance for drafters in self._scenario.drafters):
            co_located = SimulatedCoLocatedDrafts(tier.co_located, environment.expected_streams)
        else:
            config = replace(config, co_located_tokens=0)
        info = target_info(tier.kv_capacity, tier.max_context, tier.kv_block)
        events = environment.events_of(config.name) if environment.events_of else None

        def new_core() -> VerifierCore | LoggedVerifierCore:
            """After a restart the same log continues with a new start event, as a live server's does."""
            if events is None:
                return VerifierCore(config, info)
            return LoggedVerifierCore(config, info, events, environment.kernel.now_s)

        identity = VerifierIdentity(number, tier.name, config.name, environment.placement.slot())
        engines = SimulatedEngines(SimulatedTargetEngine(info, tier.latency.model()), co_located)
        verifier = SimulatedVerifier(environment.kernel, identity, new_core, engines)
        environment.kernel.start(verifier.run())
        for outage in tier.outages:
            if outage.index == index:
                environment.kernel.start(verifier.fail(outage))
        return verifier

    def _known(self, tier: DrafterTier, num_started: int) -> list[SimulatedVerifier]:
        """The verifiers that a drafter knows, in rotated order, so that drafters spread evenly over the first ones."""
        reachable = [
            verifier for verifier in self._verifiers if not tier.verifiers or verifier.identity.tier in tier.verifiers
        ]
        first = num_started % len(reachable)
        return (reachable[first:] + reachable[:first])[: tier.fan_out or len(reachable)]

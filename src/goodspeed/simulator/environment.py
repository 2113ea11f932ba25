"""What everybody in a run shares."""

from collections.abc import Callable
from dataclasses import dataclass

from goodspeed.records.event_log import EventSink
from goodspeed.simulator.answer_in_progress import RunCounters
from goodspeed.simulator.kernel import Kernel
from goodspeed.simulator.placement import Placement
from goodspeed.simulator.rng_streams import RngStreams
from goodspeed.simulator.tracing import RequestTracer

EventsOf = Callable[[str], EventSink]
"""Where the facts and decisions of a server go, by its name."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Of one run."""

    kernel: Kernel
    rng_streams: RngStreams
    counters: RunCounters
    tracer: RequestTracer
    placement: Placement
    events_of: EventsOf | None  # None: no event logs

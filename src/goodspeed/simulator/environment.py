"""What all parts of a simulated run share."""

from collections.abc import Callable
from dataclasses import dataclass

from goodspeed.records.event_log import EventSink
from goodspeed.simulator.answer_in_progress import RunCounters
from goodspeed.simulator.co_located import ExpectedStreams
from goodspeed.simulator.kernel import Kernel
from goodspeed.simulator.placement import Placement
from goodspeed.simulator.rng_streams import RngStreams
from goodspeed.simulator.tracing import RequestTracer
from goodspeed.windows.policies import WindowConfig
from goodspeed.windows.window_policy import WindowPolicy

EventsOf = Callable[[str], EventSink]
"""Returns the sink of a server's event log, by the server's name."""

WindowOf = Callable[[str, WindowConfig], WindowPolicy]
"""Makes the window policy of a drafter, by its name and its configuration."""


@dataclass(frozen=True, slots=True)
class Environment:
    """The shared parts of one run."""

    kernel: Kernel
    rng_streams: RngStreams
    counters: RunCounters
    tracer: RequestTracer
    placement: Placement
    events_of: EventsOf | None  # None: no event logs are written
    expected_streams: ExpectedStreams  # of co-located drafts
    window_of: WindowOf | None = None  # None: the policies that the configuration names

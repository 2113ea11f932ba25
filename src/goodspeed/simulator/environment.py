"""What everybody in a run shares."""

from collections.abc import Callable
from dataclasses import dataclass

from goodspeed.records.event_log import EventSink
from goodspeed.simulator.answer_in_progress import Tally
from goodspeed.simulator.kernel import Kernel
from goodspeed.simulator.placement import Hosting
from goodspeed.simulator.rng_streams import Luck
from goodspeed.simulator.tracing import Trace

EventsOf = Callable[[str], EventSink]
"""Where the facts and decisions of a server go, by its name."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Of one run."""

    kernel: Kernel
    luck: Luck
    tally: Tally
    trace: Trace
    hosting: Hosting
    events_of: EventsOf | None  # None: no event logs

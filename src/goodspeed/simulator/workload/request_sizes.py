"""The lengths of requests."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from goodspeed.simulator.workload.lengths import Lengths
from goodspeed.simulator.workload.workload import WorkloadRequest


@dataclass(frozen=True, slots=True)
class RequestSizes:
    """Lengths of prompts and answers, independent of each other and of the arrival times."""

    prompt: Lengths
    answer: Lengths

    def requests(
        self, gaps: Iterable[float], is_closed_loop: bool, rng: np.random.Generator
    ) -> Iterator[WorkloadRequest]:
        """One for each gap."""
        for interarrival_s in gaps:
            yield WorkloadRequest(interarrival_s, is_closed_loop, self.prompt.draw(rng), self.answer.draw(rng))

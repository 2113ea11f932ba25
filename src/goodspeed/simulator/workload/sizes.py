"""How much each request is about."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from goodspeed.simulator.workload.lengths import Lengths
from goodspeed.simulator.workload.workload import Ask


@dataclass(frozen=True, slots=True)
class Sizes:
    """Lengths of prompts and answers, independent of each other and of the times."""

    prompt: Lengths
    answer: Lengths

    def asks(self, gaps: Iterable[float], is_closed_loop: bool, rng: np.random.Generator) -> Iterator[Ask]:
        """One for each gap."""
        for gap_s in gaps:
            yield Ask(gap_s, is_closed_loop, self.prompt.draw(rng), self.answer.draw(rng))

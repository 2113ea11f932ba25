"""What a drafter has sent, received and committed, read from its Prometheus text."""

import math
from dataclasses import dataclass

BYTES = ("goodspeed_drafter_sent_bytes_total", "goodspeed_drafter_received_bytes_total")
COMMITTED = ("goodspeed_drafter_committed_tokens_total",)


@dataclass(frozen=True, slots=True)
class DrafterTraffic:
    """So far, or during a run; NaN where it cannot be told."""

    wire_bytes: float
    """Between drafter and verifier, both ways."""
    num_committed: float
    """Tokens, whether or not their answers are counted."""

    def since(self, before: "DrafterTraffic") -> "DrafterTraffic":
        """What came in between."""
        return DrafterTraffic(self.wire_bytes - before.wire_bytes, self.num_committed - before.num_committed)


def traffic(metrics: str) -> DrafterTraffic:
    """From a drafter's metrics; the text of anybody else has no such counters."""
    return DrafterTraffic(_total(metrics, BYTES), _total(metrics, COMMITTED))


def _total(metrics: str, counters: tuple[str, ...]) -> float:
    values = [
        float(line.rpartition(" ")[2])
        for line in metrics.splitlines()
        if line.partition(" ")[0].partition("{")[0] in counters
    ]
    return math.fsum(values) if values else math.nan

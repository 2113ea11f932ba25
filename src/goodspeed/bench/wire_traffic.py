"""Bytes and committed tokens of a drafter, read from its Prometheus metrics."""

import math
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

BYTES = ("goodspeed_drafter_sent_bytes_total", "goodspeed_drafter_received_bytes_total")
COMMITTED = ("goodspeed_drafter_committed_tokens_total",)


@dataclass(frozen=True, slots=True)
class DrafterTraffic:
    """Counters since the drafter started, or their increase during a run; NaN if not known."""

    wire_bytes: float
    """Between drafter and verifier, in both directions."""
    num_committed: float
    """Committed tokens, including those of answers that are not counted."""

    def since(self, before: "DrafterTraffic") -> "DrafterTraffic":
        """The increase since an earlier reading."""
        return DrafterTraffic(self.wire_bytes - before.wire_bytes, self.num_committed - before.num_committed)


def traffic(metrics: str) -> DrafterTraffic:
    """The counters in Prometheus text; NaN if it has none, or is not in that format."""
    return DrafterTraffic(_total(metrics, BYTES), _total(metrics, COMMITTED))


def _total(metrics: str, counters: tuple[str, ...]) -> float:
    try:
        samples = [sample for family in text_string_to_metric_families(metrics) for sample in family.samples]
    except ValueError:  # the endpoint of another server
        return math.nan
    values = [sample.value for sample in samples if sample.name in counters]
    return math.fsum(values) if values else math.nan

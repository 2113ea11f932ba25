"""Bytes on the wire, read from a drafter's Prometheus text."""

import math

COUNTERS = ("goodspeed_drafter_sent_bytes_total", "goodspeed_drafter_received_bytes_total")


def wire_bytes(metrics: str) -> float:
    """Bytes sent and received so far; NaN if the text has no such counters."""
    values = [
        float(line.rpartition(" ")[2])
        for line in metrics.splitlines()
        if line.partition(" ")[0].partition("{")[0] in COUNTERS
    ]
    return math.fsum(values) if values else math.nan

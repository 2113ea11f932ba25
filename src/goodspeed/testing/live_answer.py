"""Answers as a live drafter would record them, from traces whose truth is known."""

import math
from collections.abc import Sequence

import numpy as np

from goodspeed.analysis.accepted_by_round import accepted_by_round
from goodspeed.records.acceptance_trace import RIGHT, STOPPED, UNKNOWN, WRONG, TracedAnswer
from goodspeed.simulator.acceptance.acceptance_model import AcceptanceTrace
from goodspeed.simulator.acceptance.models import AcceptanceConfig, acceptance_model


def live_answer(
    trace: AcceptanceTrace, num_tokens: int, window: int, request: int = 0, min_survival: float = 0.0
) -> TracedAnswer:
    """Known up to each first wrong token; the bonus token after a right draft is not."""
    places = [(UNKNOWN, 0.0, 0)]
    while (base := len(places)) < num_tokens:
        most = min(window, num_tokens - base - 1)
        drafted, below = _drafted(trace, base, most, min_survival)
        for depth, confidence in enumerate(drafted):
            is_right = trace.is_right(base + depth, depth)
            places.append((RIGHT if is_right else WRONG, confidence, depth))
            if not is_right:
                break
        else:
            places.append((UNKNOWN if below is None else STOPPED, below or 0.0, len(drafted)))
    judged, confidences, depths = zip(*places, strict=True)
    return TracedAnswer("c", request, 0.0, 9, "LENGTH", "".join(judged), confidences, depths, (0.0,) * len(places))


def live_answers(config: AcceptanceConfig, num: int, window: int, min_survival: float = 0.0) -> list[TracedAnswer]:
    """Of 120 tokens each; seeded by their number."""
    model = acceptance_model(config)
    traces = [model.new_trace(0, request, np.random.default_rng(request)) for request in range(num)]
    return [live_answer(trace, 120, window, request, min_survival) for request, trace in enumerate(traces)]


def accepted_per_round(traces: Sequence[AcceptanceTrace], window: int, num_tokens: int = 120) -> tuple[float, float]:
    """Mean, and its standard error (ratio estimator over traces)."""
    rounds = [list(accepted_by_round(trace, num_tokens, window)) for trace in traces]
    accepted = np.array([sum(one) for one in rounds], dtype=float)
    counts = np.array([len(one) for one in rounds], dtype=float)
    mean = float(accepted.sum() / counts.sum())
    return mean, float((accepted - mean * counts).std() * math.sqrt(len(rounds)) / counts.sum())


def _drafted(trace: AcceptanceTrace, base: int, most: int, min_survival: float) -> tuple[list[float], float | None]:
    """Confidences of what is drafted, and the one below which the next one was, if that ended the draft."""
    drafted: list[float] = []
    survival = 1.0
    for depth in range(most):
        confidence = trace.confidence(base + depth, depth)
        if survival * confidence < min_survival:
            return drafted, min(1.0, min_survival / survival)
        survival *= confidence
        drafted.append(confidence)
    return drafted, None

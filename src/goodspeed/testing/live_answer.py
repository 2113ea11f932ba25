"""Answers as a live drafter would record them, from known acceptance traces."""

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
    """The recorded answer: each round is known up to its first wrong token, its bonus token is unknown."""
    positions = [(UNKNOWN, 0.0, 0)]
    while (start := len(positions)) < num_tokens:
        max_drafted = min(window, num_tokens - start - 1)
        drafted, below = _drafted(trace, start, max_drafted, min_survival)
        for depth, confidence in enumerate(drafted):
            is_right = trace.is_right(start + depth, depth)
            positions.append((RIGHT if is_right else WRONG, confidence, depth))
            if not is_right:
                break
        else:
            positions.append((UNKNOWN if below is None else STOPPED, below or 0.0, len(drafted)))
    outcomes, confidences, depths = zip(*positions, strict=True)
    return TracedAnswer("c", request, 0.0, 9, "LENGTH", "".join(outcomes), confidences, depths, (0.0,) * len(positions))


def live_answers(config: AcceptanceConfig, num: int, window: int, min_survival: float = 0.0) -> list[TracedAnswer]:
    """`num` answers of 120 tokens, seeded with their number."""
    model = acceptance_model(config)
    traces = [model.new_trace(0, request, np.random.default_rng(request)) for request in range(num)]
    return [live_answer(trace, 120, window, request, min_survival) for request, trace in enumerate(traces)]


def accepted_per_round(traces: Sequence[AcceptanceTrace], window: int, num_tokens: int = 120) -> tuple[float, float]:
    """Mean number of accepted tokens per round, and its standard error (ratio estimator over traces)."""
    rounds = [list(accepted_by_round(trace, num_tokens, window)) for trace in traces]
    accepted = np.array([sum(numbers) for numbers in rounds], dtype=float)
    counts = np.array([len(numbers) for numbers in rounds], dtype=float)
    mean = float(accepted.sum() / counts.sum())
    return mean, float((accepted - mean * counts).std() * math.sqrt(len(rounds)) / counts.sum())


def _drafted(
    trace: AcceptanceTrace, start: int, max_drafted: int, min_survival: float
) -> tuple[list[float], float | None]:
    """The confidences of the drafted tokens, and the upper bound of the next one's if the draft stopped there."""
    drafted: list[float] = []
    survival = 1.0
    for depth in range(max_drafted):
        confidence = trace.confidence(start + depth, depth)
        if survival * confidence < min_survival:
            return drafted, min(1.0, min_survival / survival)
        survival *= confidence
        drafted.append(confidence)
    return drafted, None

"""Confidences of a clairvoyant drafter, for a bound on what any policy could do that chooses by confidence."""

import numpy as np

from goodspeed.simulator.acceptance.acceptance_model import AcceptanceModel, AcceptanceTrace


class ExactConfidence:
    """An acceptance model with the bits of another one, whose drafters know which of their tokens are right."""

    def __init__(self, inner: AcceptanceModel) -> None:
        self._inner = inner

    def new_trace(self, client: int, request: int, rng: np.random.Generator) -> "ExactTrace":
        return ExactTrace(self._inner.new_trace(client, request, rng))


class ExactTrace:
    """Confidences of 1 for right tokens and of 0 for wrong ones, which are never drafted."""

    __slots__ = ("_inner",)

    def __init__(self, inner: AcceptanceTrace) -> None:
        self._inner = inner

    def is_right(self, position: int, depth: int) -> bool:
        return self._inner.is_right(position, depth)

    def confidence(self, position: int, depth: int) -> float:
        return float(self._inner.is_right(position, depth))

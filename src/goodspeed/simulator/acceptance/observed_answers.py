"""Judged answers as arrays, and how what nobody knows is filled in."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from goodspeed.records.acceptance_trace import RIGHT, STOPPED, UNKNOWN, WRONG, TracedAnswer

CODES = {RIGHT: 1, WRONG: 0, UNKNOWN: -1, STOPPED: -2}


@dataclass(frozen=True, slots=True)
class ObservedAnswers:
    """Answers, padded with unknown places to the longest."""

    bits: NDArray[np.int8]  # [answers, places] as in CODES
    depths: NDArray[np.int64]  # [answers, places] draft tokens before it in its round
    confidences: NDArray[np.float64]  # [answers, places]
    lengths: NDArray[np.int64]  # [answers]

    @property
    def is_known(self) -> NDArray[np.bool_]:
        """[answers, places]."""
        return self.bits >= 0

    def every_other(self, first: int) -> "ObservedAnswers":
        """Answers first, first + 2, ...: what drifts is in both halves."""
        return ObservedAnswers(
            self.bits[first::2], self.depths[first::2], self.confidences[first::2], self.lengths[first::2]
        )

    def settled(self, rng: np.random.Generator) -> "ObservedAnswers":
        """With every STOPPED place drawn: a drafter that stops where it is unsure leaves out the wrong ones.

        The confidence comes from _ConfidenceDistribution, the bit from the verified token with that confidence. A
        confidence below those of all verified tokens is right with the probability that it states (calibration).
        """
        stopped = np.nonzero(self.bits == CODES[STOPPED])
        if not len(stopped[0]):
            return self
        known = self.is_known
        deck = _ConfidenceDistribution(self.confidences[known], self.bits[known], self.confidences[stopped])
        drawn = replace(self, bits=self.bits.copy(), confidences=self.confidences.copy())
        drawn.bits[stopped], drawn.confidences[stopped] = deck.draw(self.confidences[stopped], rng)
        return drawn


class _ConfidenceDistribution:
    """The distribution of confidence, where some are only known to be below a bound.

    Kaplan and Meier's estimate for data that are censored from the left: from the highest confidence down, Pr(below)
    falls by one in as many as are there or lower. What is left at the lowest judged one lies below it, evenly spread.
    """

    def __init__(
        self,
        exact: NDArray[np.float64],  # [n] confidences of judged tokens
        bits: NDArray[np.int8],  # [n]
        bounds: NDArray[np.float64],  # [m]
    ) -> None:
        order = np.argsort(exact, kind="stable")
        self._exact, self._bits = exact[order], bits[order]
        rank = np.arange(1, len(exact) + 1) + np.searchsorted(np.sort(bounds), self._exact, side="right")
        below = np.cumprod((1.0 - 1.0 / rank)[::-1])[::-1]  # [n] Pr(confidence < this one's)
        self._cumulated = np.append(below, 1.0)  # [i]: Pr(below the i-th judged one)

    def draw(
        self, bounds: NDArray[np.float64], rng: np.random.Generator
    ) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
        """A bit and a confidence below each bound."""
        uniforms = rng.random(len(bounds)) * self._cumulated[np.searchsorted(self._exact, bounds)]
        card = np.searchsorted(self._cumulated, uniforms, side="right") - 1  # -1: below all that were judged
        lowest = self._exact[0] if len(self._exact) else 1.0
        guess = np.minimum(bounds, lowest) * rng.random(len(bounds))
        guess_bits = (rng.random(len(bounds)) < guess).astype(np.int8)
        if not len(self._exact):
            return guess_bits, guess
        return np.where(card < 0, guess_bits, self._bits[card]), np.where(card < 0, guess, self._exact[card])


def observed_answers(answers: Sequence[TracedAnswer]) -> ObservedAnswers:
    """At least one answer, each with at least one token."""
    lengths = np.array([answer.num_answer for answer in answers])
    shape = len(answers), int(lengths.max())
    bits = np.full(shape, CODES[UNKNOWN], dtype=np.int8)
    depths = np.zeros(shape, dtype=np.int64)
    confidences = np.zeros(shape)
    for row, answer in enumerate(answers):
        here = slice(answer.num_answer)
        bits[row, here] = [CODES[judged] for judged in answer.draft_outcomes]
        depths[row, here] = answer.depths
        confidences[row, here] = answer.confidences
    return ObservedAnswers(bits, depths, confidences, lengths)

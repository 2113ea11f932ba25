"""Traced answers as arrays, and the imputation of positions where drafters stopped."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from goodspeed.records.acceptance_trace import RIGHT, STOPPED, UNKNOWN, WRONG, TracedAnswer

CODES = {RIGHT: 1, WRONG: 0, UNKNOWN: -1, STOPPED: -2}


@dataclass(frozen=True, slots=True)
class ObservedAnswers:
    """Answers, padded to the longest one with unknown positions."""

    bits: NDArray[np.int8]  # [answers, positions] as in CODES
    depths: NDArray[np.int64]  # [answers, positions] number of draft tokens before it in its round
    confidences: NDArray[np.float64]  # [answers, positions]
    lengths: NDArray[np.int64]  # [answers]

    @property
    def is_known(self) -> NDArray[np.bool_]:
        """[answers, positions]."""
        return self.bits >= 0

    def every_other(self, first: int) -> "ObservedAnswers":
        """Answers first, first + 2, ...: a drift of the rate is in both halves."""
        return ObservedAnswers(
            self.bits[first::2], self.depths[first::2], self.confidences[first::2], self.lengths[first::2]
        )

    def impute_stopped(self, rng: np.random.Generator) -> "ObservedAnswers":
        """The answers with a drawn bit and confidence at every STOPPED position.

        A drafter that stops where it is unsure leaves out wrong tokens more often than right ones, so these positions
        are not missing at random. Their confidences come from _ConfidenceDistribution, and the bit is that of the
        verified token with this confidence. A confidence below those of all verified tokens is right with the
        probability that it states (calibration).
        """
        stopped = np.nonzero(self.bits == CODES[STOPPED])
        if not len(stopped[0]):
            return self
        known = self.is_known
        distribution = _ConfidenceDistribution(self.confidences[known], self.bits[known], self.confidences[stopped])
        imputed = replace(self, bits=self.bits.copy(), confidences=self.confidences.copy())
        imputed.bits[stopped], imputed.confidences[stopped] = distribution.draw(self.confidences[stopped], rng)
        return imputed


class _ConfidenceDistribution:
    """The distribution of confidences of which some are only known to be below a bound.

    The Kaplan-Meier estimate for left-censored data: from the highest confidence down, each verified token lowers
    Pr(below) by one part in the number of tokens at or below it. The probability that is left at the lowest verified
    confidence is spread evenly below it.
    """

    def __init__(
        self,
        exact: NDArray[np.float64],  # [n] confidences of verified tokens
        bits: NDArray[np.int8],  # [n]
        bounds: NDArray[np.float64],  # [m] upper bounds of censored confidences
    ) -> None:
        order = np.argsort(exact, kind="stable")
        self._exact, self._bits = exact[order], bits[order]
        rank = np.arange(1, len(exact) + 1) + np.searchsorted(np.sort(bounds), self._exact, side="right")
        below = np.cumprod((1.0 - 1.0 / rank)[::-1])[::-1]  # [n] Pr(confidence < this one's)
        self._cumulated = np.append(below, 1.0)  # [n + 1]: Pr(below the i-th verified one)

    def draw(
        self, bounds: NDArray[np.float64], rng: np.random.Generator
    ) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
        """A bit and a confidence below each bound."""
        uniforms = rng.random(len(bounds)) * self._cumulated[np.searchsorted(self._exact, bounds)]
        index = np.searchsorted(self._cumulated, uniforms, side="right") - 1  # -1: below all verified ones
        lowest = self._exact[0] if len(self._exact) else 1.0
        guess = np.minimum(bounds, lowest) * rng.random(len(bounds))
        guess_bits = (rng.random(len(bounds)) < guess).astype(np.int8)
        if not len(self._exact):
            return guess_bits, guess
        return np.where(index < 0, guess_bits, self._bits[index]), np.where(index < 0, guess, self._exact[index])


def observed_answers(answers: Sequence[TracedAnswer]) -> ObservedAnswers:
    """The arrays of at least one answer, each with at least one token."""
    lengths = np.array([answer.num_answer for answer in answers])
    shape = len(answers), int(lengths.max())
    bits = np.full(shape, CODES[UNKNOWN], dtype=np.int8)
    depths = np.zeros(shape, dtype=np.int64)
    confidences = np.zeros(shape)
    for row, answer in enumerate(answers):
        columns = slice(answer.num_answer)
        bits[row, columns] = [CODES[outcome] for outcome in answer.draft_outcomes]
        depths[row, columns] = answer.depths
        confidences[row, columns] = answer.confidences
    return ObservedAnswers(bits, depths, confidences, lengths)

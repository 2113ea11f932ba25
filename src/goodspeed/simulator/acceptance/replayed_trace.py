"""Replay of recorded answers, right at any window: what is right belongs to places of the answer, not to rounds."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from goodspeed.config import config_dataclass, option
from goodspeed.errors import ConfigError
from goodspeed.records.acceptance_trace import TracedAnswer, read_acceptance_trace
from goodspeed.simulator.acceptance.hidden_markov import STARTS, fill_in, fit_chain
from goodspeed.simulator.acceptance.observed_answers import ObservedAnswers, observed_answers

NUM_FILLINGS = 8
"""Ways in which the unknown places of a log are filled in; each trace takes one (multiple imputation, Rubin 1987)."""
FILLING_SEED = 0


@config_dataclass
class ReplayedTraceConfig:
    """An acceptance trace to replay."""

    file: str = option("", "acceptance trace: JSONL file written by `goodspeed drafter --acceptance-log`")
    is_per_client: bool = option(False, "each client replays the answers of one recorded client; false: of all")
    is_in_order: bool = option(False, "requests replay the answers in order; false: each draws one at random")


@dataclass(frozen=True, slots=True)
class _Answer:
    bits: list[bool]
    confidences: list[float]


class ReplayedTraceAcceptance:
    """Hands out recorded answers: each trace begins with one, drawn at random or in order, and goes on with the next.

    Places of which the log knows nothing are filled in by the chain of `markov` that fits the log best, given
    everything that is known around them: after three right tokens the target's bonus token is more likely an easy
    one. Their confidences are those of judged tokens that were as right, or wrong. Raises ConfigError if the log cannot
    be read.
    """

    def __init__(self, answers: Sequence[TracedAnswer], is_per_client: bool = False, is_in_order: bool = False) -> None:
        """At least one answer, each with at least one token."""
        fillings = _filled(observed_answers(answers))
        self._is_in_order = is_in_order
        clients = sorted({answer.client for answer in answers}) if is_per_client else [None]
        self._shelves = [
            [
                [row for row, of in zip(filling, answers, strict=True) if client in {None, of.client}]
                for filling in fillings
            ]
            for client in clients
        ]

    def new_trace(self, client: int, request: int, rng: np.random.Generator) -> "ReplayedTrace":
        shelf = self._shelves[client % len(self._shelves)]
        filling = shelf[int(rng.integers(len(shelf)))]
        return ReplayedTrace(filling, request % len(filling) if self._is_in_order else int(rng.integers(len(filling))))


class ReplayedTrace:
    """A AcceptanceTrace that reads an answer, and beyond its end the answers after it, environment and environment."""

    __slots__ = ("_answers", "_bits", "_confidences", "_next")

    def __init__(self, answers: Sequence[_Answer], first: int) -> None:
        self._answers = answers
        self._bits = answers[first].bits  # shared with other traces until it has to grow
        self._confidences = answers[first].confidences
        self._next = first + 1

    def is_right(self, position: int, depth: int) -> bool:  # noqa: ARG002
        while position >= len(self._bits):
            self._grow()
        return self._bits[position]

    def confidence(self, position: int, depth: int) -> float:  # noqa: ARG002
        while position >= len(self._bits):
            self._grow()
        return self._confidences[position]

    def _grow(self) -> None:
        answer = self._answers[self._next % len(self._answers)]
        self._bits = [*self._bits, *answer.bits]
        self._confidences = [*self._confidences, *answer.confidences]
        self._next += 1


def replayed_trace_acceptance(config: ReplayedTraceConfig) -> ReplayedTraceAcceptance:
    """Raises ConfigError if the log cannot be read. Every replication asks; filling in takes half a second."""
    path = Path(config.file)
    changed_ns = path.stat().st_mtime_ns if path.is_file() else 0
    return _read(path, changed_ns, config.is_per_client, config.is_in_order)


@functools.lru_cache(maxsize=64)
def _read(path: Path, _changed_ns: int, is_per_client: bool, is_in_order: bool) -> ReplayedTraceAcceptance:
    return ReplayedTraceAcceptance(read_acceptance_trace(path), is_per_client, is_in_order)


def replayed_traces(answers: Sequence[TracedAnswer]) -> list[list[ReplayedTrace]]:
    """Every answer once, in order, for each way of filling in what is unknown."""
    fillings = _filled(observed_answers(answers))
    return [[ReplayedTrace(filling, first) for first in range(len(filling))] for filling in fillings]


def _filled(judged: ObservedAnswers) -> list[list[_Answer]]:
    """NUM_FILLINGS times all answers; once if nothing is unknown. Raises ConfigError if everything is."""
    rng = np.random.default_rng(FILLING_SEED)
    if np.array_equal(judged.is_known.sum(axis=1), judged.lengths):
        return [_rows(judged, judged.bits == 1, rng)]
    settled = [judged.settled(rng) for _ in range(NUM_FILLINGS)]
    if not settled[0].is_known.any():
        raise ConfigError("the acceptance log has no judged draft token")
    chain = fit_chain(settled[0], STARTS[:1])
    return [_rows(one, fill_in(chain, one, rng), rng) for one in settled]


def _rows(
    judged: ObservedAnswers, bits: np.ndarray[tuple[int, int], np.dtype[np.bool_]], rng: np.random.Generator
) -> list[_Answer]:
    confidences = judged.confidences.copy()
    for bit in (False, True):
        alike = judged.confidences[judged.is_known & (bits == bit)]
        gaps = ~judged.is_known & (bits == bit)
        if len(alike):
            confidences[gaps] = rng.choice(alike, int(gaps.sum()))
    return [
        _Answer(row[:length].tolist(), reported[:length].tolist())
        for row, reported, length in zip(bits, confidences, judged.lengths, strict=True)
    ]

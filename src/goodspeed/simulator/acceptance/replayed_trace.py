"""Replay of recorded acceptance traces, at any window: bits belong to positions of the answer, not to rounds."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from goodspeed.config import config_dataclass, option
from goodspeed.errors import ConfigError
from goodspeed.records.acceptance_trace import TracedAnswer, read_acceptance_trace
from goodspeed.registry import nearest_name
from goodspeed.simulator.acceptance.hidden_markov import STARTS, fit_chain, impute_bits
from goodspeed.simulator.acceptance.observed_answers import ObservedAnswers, observed_answers

NUM_IMPUTATIONS = 8
"""Imputations of the unknown positions; each trace takes one (multiple imputation, Rubin 1987)."""
IMPUTATION_SEED = 0


@config_dataclass
class ReplayedTraceConfig:
    """An acceptance trace to replay."""

    file: str = option("", "acceptance trace: JSONL file written by `goodspeed drafter --acceptance-trace`")
    client: str = option("", "replay the answers of this recorded client only; empty: of all")
    is_per_client: bool = option(False, "each client replays the answers of one recorded client; false: of all")
    is_in_order: bool = option(False, "requests replay the answers in order; false: each draws one at random")


@dataclass(frozen=True, slots=True)
class _AnswerBits:
    bits: list[bool]
    confidences: list[float]


class ReplayedTraceAcceptance:
    """Replays recorded answers. A trace starts with one of them, random or in order, and continues with the next ones.

    Positions that the acceptance trace leaves unknown are imputed with the `markov` chain that fits it best, given all
    known positions around them: after three right tokens, the bonus token is more likely an easy one. An imputed
    position takes the confidence of a random verified token with the same bit.
    """

    def __init__(self, answers: Sequence[TracedAnswer], is_per_client: bool = False, is_in_order: bool = False) -> None:
        """At least one answer, each with at least one token."""
        imputations = _impute(observed_answers(answers))
        self._is_in_order = is_in_order
        clients = sorted({answer.client for answer in answers}) if is_per_client else [None]
        self._imputations_by_client = [
            [
                [bits for bits, answer in zip(imputation, answers, strict=True) if client in {None, answer.client}]
                for imputation in imputations
            ]
            for client in clients
        ]

    def new_trace(self, client: int, request: int, rng: np.random.Generator) -> "ReplayedTrace":
        imputations = self._imputations_by_client[client % len(self._imputations_by_client)]
        answers = imputations[int(rng.integers(len(imputations)))]
        return ReplayedTrace(answers, request % len(answers) if self._is_in_order else int(rng.integers(len(answers))))


class ReplayedTrace:
    """An AcceptanceTrace that reads one answer, and beyond its end the following answers, cyclically."""

    __slots__ = ("_answers", "_bits", "_confidences", "_next")

    def __init__(self, answers: Sequence[_AnswerBits], first: int) -> None:
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
    """The model of an acceptance trace. Raises ConfigError if it cannot be read.

    Models are cached: every replication makes one, and imputation takes half a second.
    """
    path = Path(config.file)
    changed_ns = path.stat().st_mtime_ns if path.is_file() else 0
    return _read(path, changed_ns, config)


@functools.lru_cache(maxsize=64)
def _read(path: Path, _changed_ns: int, config: ReplayedTraceConfig) -> ReplayedTraceAcceptance:
    answers = read_acceptance_trace(path)
    if config.client:
        recorded = sorted({answer.client for answer in answers})
        if config.client not in recorded:
            raise ConfigError(f"{path} has no client {config.client!r}; {nearest_name(config.client, recorded)}")
        answers = [answer for answer in answers if answer.client == config.client]
    return ReplayedTraceAcceptance(answers, config.is_per_client, config.is_in_order)


def replayed_traces(answers: Sequence[TracedAnswer]) -> list[list[ReplayedTrace]]:
    """A trace of every answer, in order, for each imputation of the unknown positions."""
    imputations = _impute(observed_answers(answers))
    return [[ReplayedTrace(imputation, first) for first in range(len(imputation))] for imputation in imputations]


def _impute(observed: ObservedAnswers) -> list[list[_AnswerBits]]:
    """NUM_IMPUTATIONS times all answers; once if every position is known. Raises ConfigError if none is."""
    rng = np.random.default_rng(IMPUTATION_SEED)
    if np.array_equal(observed.is_known.sum(axis=1), observed.lengths):
        return [_rows(observed, observed.bits == 1, rng)]
    without_stops = [observed.impute_stopped(rng) for _ in range(NUM_IMPUTATIONS)]
    if not without_stops[0].is_known.any():
        raise ConfigError("the acceptance trace has no verified draft token")
    chain = fit_chain(without_stops[0], STARTS[:1])
    return [_rows(answers, impute_bits(chain, answers, rng), rng) for answers in without_stops]


def _rows(
    observed: ObservedAnswers, bits: np.ndarray[tuple[int, int], np.dtype[np.bool_]], rng: np.random.Generator
) -> list[_AnswerBits]:
    confidences = observed.confidences.copy()
    for bit in (False, True):
        candidates = observed.confidences[observed.is_known & (bits == bit)]
        imputed = ~observed.is_known & (bits == bit)
        if len(candidates):
            confidences[imputed] = rng.choice(candidates, int(imputed.sum()))
    return [
        _AnswerBits(bit_row[:length].tolist(), confidence_row[:length].tolist())
        for bit_row, confidence_row, length in zip(bits, confidences, observed.lengths, strict=True)
    ]

"""How well fitted generators tell what they were not fitted to: the other half of the recorded answers."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from goodspeed.analysis.acceptance_fit import FAMILIES, fit_confidence
from goodspeed.analysis.accepted_by_round import accepted_by_round
from goodspeed.records.acceptance_trace import TracedAnswer
from goodspeed.simulator.acceptance.acceptance_model import Tape
from goodspeed.simulator.acceptance.models import AcceptanceConfig, acceptance_model
from goodspeed.simulator.acceptance.replayed_trace import recorded_tapes
from goodspeed.simulator.acceptance.sequences import Sequences, sequences
from goodspeed.stats.chi_square import two_sample_p_value

WINDOWS = (1, 2, 3, 4, 5, 6, 7, 8)
NUM_TAPES = 10
"""Tapes for each held-out answer's length: what a generator predicts is then known better than what it is held to."""


@dataclass(frozen=True, slots=True)
class TokensPerRound:
    """Of all rounds of all answers; the target's own token included."""

    mean: float
    standard_error: float
    """Of the mean, answers being independent (ratio estimator)."""
    spread: float
    """Standard deviation among answers of their own means."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A family, fitted to either half of the answers and held to the other."""

    name: str
    config: AcceptanceConfig
    """Fitted to all answers, with reports that vary as theirs."""
    num_parameters: int
    log_likelihood: float  # of all known bits, natural, fitted to all
    held_out_log_likelihood: float  # per known bit, each by the fit to the other half
    run_lengths_p_value: float
    """Of the right tokens before a wrong one: two-sample chi-square, recorded against generated. Runs of one answer are
    not independent, so it is a figure of merit: comparable between fits, harsher than its number says."""
    tokens_per_round: tuple[TokensPerRound, ...]  # predicted, by WINDOWS

    @property
    def aic(self) -> float:
        """Akaike's criterion: lower is better."""
        return 2.0 * (self.num_parameters - self.log_likelihood)


@dataclass(frozen=True, slots=True)
class Goodness:
    """All families over one recording."""

    num_answers: int
    num_known: int  # tokens
    num_unknown: int
    rate: float  # share of right tokens among the known
    calibration_error: float
    """Mean |reported - right| over ten bins of confidence, weighted."""
    replayed: tuple[TokensPerRound, ...]  # by WINDOWS
    fits: tuple[Fit, ...]


@dataclass(frozen=True, slots=True)
class _Half:
    """Every other answer."""

    judged: Sequences
    tapes: list[Tape]  # as recorded; several fillings where places are unknown
    lengths: list[int]  # of the tapes


def goodness(answers: Sequence[TracedAnswer], seed: int = 0) -> Goodness:
    """At least four answers, in the order in which they were made."""
    rng = np.random.default_rng(seed)
    judged = sequences(answers).settled(rng)
    halves = [_half(answers[first::2], judged.every_other(first)) for first in (0, 1)]
    tapes, lengths = [tape for half in halves for tape in half.tapes], halves[0].lengths + halves[1].lengths
    known = judged.is_known
    return Goodness(
        num_answers=len(answers),
        num_known=int(known.sum()),
        num_unknown=int(judged.lengths.sum() - known.sum()),
        rate=float((judged.bits[known] == 1).mean()),
        calibration_error=_calibration_error(judged),
        replayed=tuple(_tokens_per_round(tapes, lengths, window, len(answers)) for window in WINDOWS),
        fits=tuple(_fit(name, judged, halves, rng) for name in FAMILIES),
    )


def _half(answers: Sequence[TracedAnswer], judged: Sequences) -> _Half:
    fillings = recorded_tapes(answers)
    tapes: list[Tape] = [tape for filling in fillings for tape in filling]
    return _Half(judged, tapes, judged.lengths.tolist() * len(fillings))


def _fit(name: str, judged: Sequences, halves: Sequence[_Half], rng: np.random.Generator) -> Fit:
    family = FAMILIES[name]
    likelihood, tapes, lengths = 0.0, list[Tape](), list[int]()
    for half, other in (halves, halves[::-1]):
        fitted = family.fit(half.judged)
        likelihood += family.log_likelihood(fitted, other.judged)
        model, wanted = acceptance_model(fitted), other.judged.lengths.tolist()
        tapes += [model.tape(0, request, rng) for _ in range(NUM_TAPES) for request in range(len(wanted))]
        lengths += wanted * NUM_TAPES
    recorded = [pair for half in halves for pair in zip(half.tapes, half.judged.lengths.tolist(), strict=False)]
    config = family.fit(judged)
    return Fit(
        name=name,
        config=replace(config, confidence=fit_confidence(config, judged)),
        num_parameters=family.num_parameters,
        log_likelihood=family.log_likelihood(config, judged),
        held_out_log_likelihood=likelihood / int(judged.is_known.sum()),
        run_lengths_p_value=two_sample_p_value(_run_lengths(recorded), _run_lengths(zip(tapes, lengths, strict=True))),
        tokens_per_round=tuple(_tokens_per_round(tapes, lengths, window, len(judged.lengths)) for window in WINDOWS),
    )


def _tokens_per_round(tapes: Sequence[Tape], lengths: Sequence[int], window: int, num_answers: int) -> TokensPerRound:
    """Several tapes may be of one answer: then they say no more of how answers differ."""
    rounds = [list(accepted_by_round(tape, length, window)) for tape, length in zip(tapes, lengths, strict=True)]
    tokens = np.array([sum(accepted) + len(accepted) for accepted in rounds], dtype=float)
    counts = np.array([len(accepted) for accepted in rounds], dtype=float)
    mean = float(tokens.sum() / counts.sum())
    error = (tokens - mean * counts).std() / (counts.mean() * math.sqrt(num_answers))
    has_rounds = counts > 0
    return TokensPerRound(mean, float(error), float((tokens[has_rounds] / counts[has_rounds]).std()))


def _run_lengths(tapes: Iterable[tuple[Tape, int]]) -> Counter[int]:
    """Right tokens before each wrong one, as drafts without end would find them."""
    runs: Counter[int] = Counter()
    for tape, length in tapes:
        run = 0
        for position in range(1, length):
            if tape.is_right(position, run):
                run += 1
            else:
                runs[run] += 1
                run = 0
    return runs


def _calibration_error(judged: Sequences) -> float:
    known = judged.is_known
    reported, is_right = judged.confidences[known], judged.bits[known] == 1
    bins = np.minimum((reported * 10).astype(int), 9)
    return float(sum(abs(np.sum((reported - is_right)[bins == one])) for one in range(10)) / len(bins))

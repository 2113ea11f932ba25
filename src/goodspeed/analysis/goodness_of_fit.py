"""How well fitted generators tell what they were not fitted to: the other half of the recorded answers."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from goodspeed.analysis.acceptance_fit import FAMILIES, fit_confidence
from goodspeed.analysis.accepted_by_round import accepted_by_round
from goodspeed.records.acceptance_trace import TracedAnswer
from goodspeed.simulator.acceptance.acceptance_model import AcceptanceTrace
from goodspeed.simulator.acceptance.models import AcceptanceConfig, acceptance_model
from goodspeed.simulator.acceptance.observed_answers import ObservedAnswers, observed_answers
from goodspeed.simulator.acceptance.replayed_trace import replayed_traces
from goodspeed.stats.chi_square import two_sample_p_value

WINDOWS = (1, 2, 3, 4, 5, 6, 7, 8)
NUM_TRACES = 10
"""Traces for each held-out answer's length: what a generator predicts is then known better than what it is held to."""


@dataclass(frozen=True, slots=True)
class TokensPerRound:
    """Of all rounds of all answers; the target's own token included."""

    mean: float
    standard_error: float
    """Of the mean, answers being independent (ratio estimator)."""
    spread: float
    """Standard deviation among answers of their own means."""


@dataclass(frozen=True, slots=True)
class FamilyFit:
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
class GoodnessOfFit:
    """All families over one recording."""

    num_answers: int
    num_known: int  # tokens
    num_unknown: int
    rate: float  # share of right tokens among the known
    calibration_error: float
    """Mean |reported - right| over ten bins of confidence, weighted."""
    replayed: tuple[TokensPerRound, ...]  # by WINDOWS
    fits: tuple[FamilyFit, ...]


@dataclass(frozen=True, slots=True)
class _Half:
    """Every other answer."""

    judged: ObservedAnswers
    traces: list[AcceptanceTrace]  # as recorded; several fillings where places are unknown
    lengths: list[int]  # of the traces


def goodness_of_fit(answers: Sequence[TracedAnswer], seed: int = 0) -> GoodnessOfFit:
    """At least four answers, in the order in which they were made."""
    rng = np.random.default_rng(seed)
    judged = observed_answers(answers).settled(rng)
    halves = [_half(answers[first::2], judged.every_other(first)) for first in (0, 1)]
    traces, lengths = [trace for half in halves for trace in half.traces], halves[0].lengths + halves[1].lengths
    known = judged.is_known
    return GoodnessOfFit(
        num_answers=len(answers),
        num_known=int(known.sum()),
        num_unknown=int(judged.lengths.sum() - known.sum()),
        rate=float((judged.bits[known] == 1).mean()),
        calibration_error=_calibration_error(judged),
        replayed=tuple(_tokens_per_round(traces, lengths, window, len(answers)) for window in WINDOWS),
        fits=tuple(_fit(name, judged, halves, rng) for name in FAMILIES),
    )


def _half(answers: Sequence[TracedAnswer], judged: ObservedAnswers) -> _Half:
    fillings = replayed_traces(answers)
    traces: list[AcceptanceTrace] = [trace for filling in fillings for trace in filling]
    return _Half(judged, traces, judged.lengths.tolist() * len(fillings))


def _fit(name: str, judged: ObservedAnswers, halves: Sequence[_Half], rng: np.random.Generator) -> FamilyFit:
    family = FAMILIES[name]
    likelihood, traces, lengths = 0.0, list[AcceptanceTrace](), list[int]()
    for half, other in (halves, halves[::-1]):
        fitted = family.fit(half.judged)
        likelihood += family.log_likelihood(fitted, other.judged)
        model, wanted = acceptance_model(fitted), other.judged.lengths.tolist()
        traces += [model.new_trace(0, request, rng) for _ in range(NUM_TRACES) for request in range(len(wanted))]
        lengths += wanted * NUM_TRACES
    recorded = [pair for half in halves for pair in zip(half.traces, half.judged.lengths.tolist(), strict=False)]
    config = family.fit(judged)
    return FamilyFit(
        name=name,
        config=replace(config, confidence=fit_confidence(config, judged)),
        num_parameters=family.num_parameters,
        log_likelihood=family.log_likelihood(config, judged),
        held_out_log_likelihood=likelihood / int(judged.is_known.sum()),
        run_lengths_p_value=two_sample_p_value(_run_lengths(recorded), _run_lengths(zip(traces, lengths, strict=True))),
        tokens_per_round=tuple(_tokens_per_round(traces, lengths, window, len(judged.lengths)) for window in WINDOWS),
    )


def _tokens_per_round(
    traces: Sequence[AcceptanceTrace], lengths: Sequence[int], window: int, num_answers: int
) -> TokensPerRound:
    """Several traces may be of one answer: then they say no more of how answers differ."""
    rounds = [list(accepted_by_round(trace, length, window)) for trace, length in zip(traces, lengths, strict=True)]
    tokens = np.array([sum(accepted) + len(accepted) for accepted in rounds], dtype=float)
    counts = np.array([len(accepted) for accepted in rounds], dtype=float)
    mean = float(tokens.sum() / counts.sum())
    error = (tokens - mean * counts).std() / (counts.mean() * math.sqrt(num_answers))
    has_rounds = counts > 0
    return TokensPerRound(mean, float(error), float((tokens[has_rounds] / counts[has_rounds]).std()))


def _run_lengths(traces: Iterable[tuple[AcceptanceTrace, int]]) -> Counter[int]:
    """Right tokens before each wrong one, as drafts without end would find them."""
    runs: Counter[int] = Counter()
    for trace, length in traces:
        run = 0
        for position in range(1, length):
            if trace.is_right(position, run):
                run += 1
            else:
                runs[run] += 1
                run = 0
    return runs


def _calibration_error(judged: ObservedAnswers) -> float:
    known = judged.is_known
    reported, is_right = judged.confidences[known], judged.bits[known] == 1
    bins = np.minimum((reported * 10).astype(int), 9)
    return float(sum(abs(np.sum((reported - is_right)[bins == one])) for one in range(10)) / len(bins))

"""Goodness of fit of acceptance models, each evaluated on the half of the answers that it was not fitted to."""

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
"""Generated traces per held-out answer: enough that the model's prediction has less noise than the held-out data."""


@dataclass(frozen=True, slots=True)
class TokensPerRound:
    """Over all rounds of all answers, the target's own token included."""

    mean: float
    standard_error: float
    """Standard error of the mean, with independent answers (ratio estimator)."""
    spread: float
    """Standard deviation of the answers' own means."""


@dataclass(frozen=True, slots=True)
class FamilyFit:
    """A family of models, fitted to each half of the answers and evaluated on the other."""

    name: str
    config: AcceptanceConfig
    """Fitted to all answers, with confidences that vary as the observed ones."""
    num_parameters: int
    log_likelihood: float  # natural, of all known bits, fitted to all answers
    held_out_log_likelihood: float  # per known bit, by the fit to the other half
    run_lengths_p_value: float
    """Two-sample chi-square test of run lengths (right tokens before a wrong one), observed against generated. Runs of
    one answer are not independent: compare the p-values of fits, but do not read them as probabilities."""
    tokens_per_round: tuple[TokensPerRound, ...]  # predicted, by WINDOWS

    @property
    def aic(self) -> float:
        """Akaike's information criterion: lower is better."""
        return 2.0 * (self.num_parameters - self.log_likelihood)


@dataclass(frozen=True, slots=True)
class GoodnessOfFit:
    """All families, fitted to one acceptance trace."""

    num_answers: int
    num_known: int  # tokens
    num_unknown: int
    rate: float  # share of right tokens among the known
    calibration_error: float
    """Weighted mean of |confidence - share of right tokens| over ten bins of confidence."""
    replayed: tuple[TokensPerRound, ...]  # by WINDOWS
    fits: tuple[FamilyFit, ...]


@dataclass(frozen=True, slots=True)
class _Half:
    """One half of the answers: every other one."""

    observed: ObservedAnswers
    traces: list[AcceptanceTrace]  # replayed; several imputations if positions are unknown
    lengths: list[int]  # of the traces


def goodness_of_fit(answers: Sequence[TracedAnswer], seed: int = 0) -> GoodnessOfFit:
    """Fit and evaluate all families. Needs at least four answers, in the order in which they were made."""
    rng = np.random.default_rng(seed)
    observed = observed_answers(answers).impute_stopped(rng)
    halves = [_half(answers[first::2], observed.every_other(first)) for first in (0, 1)]
    traces, lengths = [trace for half in halves for trace in half.traces], halves[0].lengths + halves[1].lengths
    known = observed.is_known
    return GoodnessOfFit(
        num_answers=len(answers),
        num_known=int(known.sum()),
        num_unknown=int(observed.lengths.sum() - known.sum()),
        rate=float((observed.bits[known] == 1).mean()),
        calibration_error=_calibration_error(observed),
        replayed=tuple(_tokens_per_round(traces, lengths, window, len(answers)) for window in WINDOWS),
        fits=tuple(_fit(name, observed, halves, rng) for name in FAMILIES),
    )


def _half(answers: Sequence[TracedAnswer], observed: ObservedAnswers) -> _Half:
    imputations = replayed_traces(answers)
    traces: list[AcceptanceTrace] = [trace for imputation in imputations for trace in imputation]
    return _Half(observed, traces, observed.lengths.tolist() * len(imputations))


def _fit(name: str, observed: ObservedAnswers, halves: Sequence[_Half], rng: np.random.Generator) -> FamilyFit:
    family = FAMILIES[name]
    likelihood, traces, lengths = 0.0, list[AcceptanceTrace](), list[int]()
    for half, other in (halves, halves[::-1]):
        fitted = family.fit(half.observed)
        likelihood += family.log_likelihood(fitted, other.observed)
        model, wanted_lengths = acceptance_model(fitted), other.observed.lengths.tolist()
        traces += [
            model.new_trace(0, request, rng) for _ in range(NUM_TRACES) for request in range(len(wanted_lengths))
        ]
        lengths += wanted_lengths * NUM_TRACES
    replayed = [pair for half in halves for pair in zip(half.traces, half.observed.lengths.tolist(), strict=False)]
    config = family.fit(observed)
    return FamilyFit(
        name=name,
        config=replace(config, confidence=fit_confidence(config, observed)),
        num_parameters=family.num_parameters,
        log_likelihood=family.log_likelihood(config, observed),
        held_out_log_likelihood=likelihood / int(observed.is_known.sum()),
        run_lengths_p_value=two_sample_p_value(_run_lengths(replayed), _run_lengths(zip(traces, lengths, strict=True))),
        tokens_per_round=tuple(_tokens_per_round(traces, lengths, window, len(observed.lengths)) for window in WINDOWS),
    )


def _tokens_per_round(
    traces: Sequence[AcceptanceTrace], lengths: Sequence[int], window: int, num_answers: int
) -> TokensPerRound:
    """`num_answers`: independent answers behind the traces; several traces may belong to one answer."""
    rounds = [list(accepted_by_round(trace, length, window)) for trace, length in zip(traces, lengths, strict=True)]
    tokens = np.array([sum(accepted) + len(accepted) for accepted in rounds], dtype=float)
    counts = np.array([len(accepted) for accepted in rounds], dtype=float)
    mean = float(tokens.sum() / counts.sum())
    error = (tokens - mean * counts).std() / (counts.mean() * math.sqrt(num_answers))
    has_rounds = counts > 0
    return TokensPerRound(mean, float(error), float((tokens[has_rounds] / counts[has_rounds]).std()))


def _run_lengths(traces: Iterable[tuple[AcceptanceTrace, int]]) -> Counter[int]:
    """The number of right tokens before each wrong one, for unlimited drafts."""
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


def _calibration_error(observed: ObservedAnswers) -> float:
    known = observed.is_known
    confidences, is_right = observed.confidences[known], observed.bits[known] == 1
    bins = np.minimum((confidences * 10).astype(int), 9)
    return float(sum(abs(np.sum((confidences - is_right)[bins == number])) for number in range(10)) / len(bins))

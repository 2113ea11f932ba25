"""Acceptance models fitted to observed answers by maximum likelihood, as configs that can be pasted into a scenario."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray

from goodspeed.simulator.acceptance.confidence import ConfidenceConfig
from goodspeed.simulator.acceptance.drifting import DriftingConfig
from goodspeed.simulator.acceptance.fixed import FixedConfig
from goodspeed.simulator.acceptance.hidden_markov import STARTS, fit_chain, impute_bits
from goodspeed.simulator.acceptance.hidden_markov import log_likelihood as chain_log_likelihood
from goodspeed.simulator.acceptance.models import AcceptanceConfig, acceptance_model
from goodspeed.simulator.acceptance.observed_answers import ObservedAnswers
from goodspeed.simulator.acceptance.positional import PositionalConfig
from goodspeed.simulator.acceptance.renewal import RenewalConfig

Floats = NDArray[np.float64]

NUM_DEPTHS = 8
NUM_PERIODS = 8  # of constant rate, in a fitted `drifting` model
MIN_PROBABILITY = 1e-6

NODES = hermegauss(15)[0], hermegauss(15)[1] / hermegauss(15)[1].sum()
"""Quadrature nodes and weights of a standard normal intercept."""
INITIAL_SPREAD = 0.5
MAX_PASSES = 60
NUM_SAMPLED, POSITIONS_SAMPLED = 200, 120
MAX_CONCENTRATION = 1e3
RIDGE = 1e-6  # a run length that never occurs has no curvature


@dataclass(frozen=True, slots=True)
class Family:
    """A family of acceptance models."""

    num_parameters: int
    fit: Callable[[ObservedAnswers], AcceptanceConfig]
    log_likelihood: Callable[[AcceptanceConfig, ObservedAnswers], float]
    """The natural log-likelihood of every known bit, given the known bits before it in its answer."""


def fit_fixed(observed: ObservedAnswers) -> AcceptanceConfig:
    """The share of right tokens among the known ones."""
    return AcceptanceConfig("fixed", fixed=FixedConfig(_rate(observed, observed.is_known)))


def fit_positional(observed: ObservedAnswers) -> AcceptanceConfig:
    """The share of right tokens by depth. A depth without known tokens has the rate of the depth before."""
    depths = np.minimum(observed.depths, NUM_DEPTHS - 1)
    rates: list[float] = []
    for depth in range(NUM_DEPTHS):
        mask = observed.is_known & (depths == depth)
        rates.append(_rate(observed, mask) if mask.any() or not rates else rates[-1])
    return AcceptanceConfig("positional", positional=PositionalConfig(tuple(rates)))


def fit_drifting(observed: ObservedAnswers) -> AcceptanceConfig:
    """The share of right tokens over time, in periods of equally many answers."""
    num_answers = -(-len(observed.lengths) // NUM_PERIODS)
    periods = np.arange(len(observed.lengths)) // num_answers
    rates = tuple(
        _rate(observed, observed.is_known & (periods == period)[:, None]) for period in range(int(periods[-1]) + 1)
    )
    return AcceptanceConfig("drifting", drifting=DriftingConfig(rates, num_answers, is_cyclic=False))


def fit_markov(observed: ObservedAnswers) -> AcceptanceConfig:
    """Baum-Welch re-estimation."""
    return AcceptanceConfig("markov", markov=fit_chain(observed))


def fit_renewal(observed: ObservedAnswers) -> AcceptanceConfig:
    """The share of right tokens by run length. Unknown positions are first imputed with the most likely chain."""
    trials, successes = (counts.sum(axis=0) for counts in _run_counts(observed))
    rates = np.clip((successes + 0.5) / (trials + 1.0), MIN_PROBABILITY, 1.0 - MIN_PROBABILITY)
    return AcceptanceConfig("renewal", renewal=RenewalConfig(tuple(rates.tolist())))


def fit_renewal_with_spread(observed: ObservedAnswers) -> AcceptanceConfig:
    """A rate for each run length, and the spread among answers.

    Logistic regression on the run length with a normal intercept per answer, by expectation-maximisation. The intercept
    is integrated by Gauss-Hermite quadrature over NODES.
    """
    trials, successes = _run_counts(observed)
    nodes, weights = NODES
    start = np.array(fit_renewal(observed).renewal.rates)
    slopes = np.append(np.log(start / (1.0 - start)), INITIAL_SPREAD)  # one per run length, and one for the intercept
    cells = np.array([[*np.eye(NUM_DEPTHS)[run], node] for run in range(NUM_DEPTHS) for node in nodes])
    for _ in range(MAX_PASSES):
        probabilities = _expit(cells @ slopes).reshape(NUM_DEPTHS, len(nodes))
        log_right, log_wrong = np.log(probabilities), np.log1p(-probabilities)
        fits = successes @ log_right + (trials - successes) @ log_wrong + np.log(weights)  # [answers, nodes]
        shares = np.exp(fits - fits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        slopes = _newton_step(cells, slopes, (trials.T @ shares).ravel(), (successes.T @ shares).ravel())
    rates = tuple(_expit(slopes[:-1]).tolist())
    return AcceptanceConfig("renewal", renewal=RenewalConfig(rates, abs(float(slopes[-1]))))


def _newton_step(cells: Floats, slopes: Floats, trials: Floats, successes: Floats) -> Floats:
    """One Newton step of the regression: cells [n, m], slopes [m], weighted trials and successes [n]."""
    probabilities = _expit(cells @ slopes)
    gradient = cells.T @ (successes - trials * probabilities)
    curvature = (cells * (trials * probabilities * (1.0 - probabilities))[:, None]).T @ cells
    step = np.linalg.solve(curvature + RIDGE * np.eye(len(slopes)), gradient)
    updated: Floats = slopes + np.clip(step, -1.0, 1.0)
    return updated


def _run_counts(observed: ObservedAnswers) -> tuple[Floats, Floats]:
    """By length of the preceding run, two arrays [answers, NUM_DEPTHS]: number of tokens, and of right ones."""
    bits = observed.bits == 1
    if not np.array_equal(observed.is_known.sum(axis=1), observed.lengths):
        bits = impute_bits(fit_chain(observed, STARTS[:1]), observed, np.random.default_rng(0))
    runs = np.minimum(_runs(bits), NUM_DEPTHS - 1)
    is_inside = np.arange(bits.shape[1]) < observed.lengths[:, None]
    has_run = is_inside[:, :, None] & (runs[:, :, None] == np.arange(NUM_DEPTHS))
    return has_run.sum(axis=1).astype(float), (has_run & bits[:, :, None]).sum(axis=1).astype(float)


def _expit(log_odds: Floats) -> Floats:
    probabilities: Floats = np.clip(1.0 / (1.0 + np.exp(-log_odds)), MIN_PROBABILITY, 1.0 - MIN_PROBABILITY)
    return probabilities


def fit_confidence(config: AcceptanceConfig, observed: ObservedAnswers) -> ConfidenceConfig:
    """The concentration at which the model's confidences vary as much as the observed ones.

    Var(confidence) = Var(p) + E[p (1 - p)] / (concentration + 1), with the model's probability p. If p alone varies
    more than the observed confidences, the model reports p itself (infinite concentration).
    """
    probabilities = _sampled_probabilities(replace(config, confidence=ConfidenceConfig(math.inf)))
    reported = observed.confidences[observed.is_known]
    excess = float(reported.var() - probabilities.var())
    noise = float((probabilities * (1.0 - probabilities)).mean())
    if excess * MAX_CONCENTRATION <= noise:
        return ConfidenceConfig(math.inf)
    return ConfidenceConfig(max(MIN_PROBABILITY, noise / excess - 1.0))


def _sampled_probabilities(config: AcceptanceConfig) -> Floats:
    """The model's probabilities at many positions, at the depths of unlimited drafts."""
    model, probabilities = acceptance_model(config), []
    for request in range(NUM_SAMPLED):
        trace, run = model.new_trace(0, request, np.random.default_rng(request)), 0
        for position in range(POSITIONS_SAMPLED):
            probabilities.append(trace.confidence(position, run))
            run = run + 1 if trace.is_right(position, run) else 0
    return np.array(probabilities)


def _fixed_log_likelihood(config: AcceptanceConfig, observed: ObservedAnswers) -> float:
    return _bernoulli(np.full(observed.bits.shape, config.fixed.rate), observed)


def _positional_log_likelihood(config: AcceptanceConfig, observed: ObservedAnswers) -> float:
    rates = np.array(config.positional.rates)
    return _bernoulli(rates[np.minimum(observed.depths, len(rates) - 1)], observed)


def _drifting_log_likelihood(config: AcceptanceConfig, observed: ObservedAnswers) -> float:
    rates = np.array([config.drifting.rate(request) for request in range(len(observed.lengths))])
    return _bernoulli(np.broadcast_to(rates[:, None], observed.bits.shape), observed)


def _markov_log_likelihood(config: AcceptanceConfig, observed: ObservedAnswers) -> float:
    return chain_log_likelihood(config.markov, observed)


def _renewal_log_likelihood(config: AcceptanceConfig, observed: ObservedAnswers) -> float:
    """Integrated over the ease of each answer."""
    if not config.renewal.spread:
        return float(_run_log_likelihood(config.renewal.rates, observed).sum())
    nodes, weights = NODES
    each = np.array([_run_log_likelihood(config.renewal.of_answer(node), observed) for node in nodes.tolist()])
    return float(np.logaddexp.reduce(each + np.log(weights)[:, None], axis=0).sum())


def _run_log_likelihood(rates: Sequence[float], observed: ObservedAnswers) -> Floats:
    """The log-likelihood of each answer, [answers], from the filtered distribution of the current run length."""
    bounded = np.clip(rates, MIN_PROBABILITY, 1.0 - MIN_PROBABILITY)
    runs = np.zeros((len(observed.lengths), len(bounded)))
    runs[:, 0] = 1.0
    total = np.zeros(len(observed.lengths))
    for bits in observed.bits.T:
        right = np.where(
            (bits == 0)[:, None], 0.0, runs * bounded
        )  # [answers, runs] joint with the bit, where it is known
        wrong = np.where(bits == 1, 0.0, (runs * (1.0 - bounded)).sum(axis=1))
        scale = right.sum(axis=1) + wrong
        total += np.log(scale)
        runs = np.concatenate((wrong[:, None], right[:, :-1]), axis=1)
        runs[:, -1] += right[:, -1]
        runs /= scale[:, None]
    return total


FAMILIES = {
    "fixed": Family(1, fit_fixed, _fixed_log_likelihood),
    "positional": Family(NUM_DEPTHS, fit_positional, _positional_log_likelihood),
    "drifting": Family(NUM_PERIODS, fit_drifting, _drifting_log_likelihood),
    "markov": Family(4, fit_markov, _markov_log_likelihood),
    "renewal": Family(NUM_DEPTHS, fit_renewal, _renewal_log_likelihood),
    "renewal, spread": Family(NUM_DEPTHS + 1, fit_renewal_with_spread, _renewal_log_likelihood),
}


def _runs(bits: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The number of right tokens in a row just before each position, [answers, positions]."""
    positions = np.arange(bits.shape[1])
    last_wrong: NDArray[np.int64] = np.maximum.accumulate(np.where(bits, -1, positions), axis=1)
    before: NDArray[np.int64] = np.concatenate((np.full((len(bits), 1), -1), last_wrong[:, :-1]), axis=1)
    return np.subtract(positions - 1, before)


def _rate(observed: ObservedAnswers, where: NDArray[np.bool_]) -> float:
    """The share of right tokens, never exactly 0 or 1, so that no held-out bit is impossible."""
    num = int(where.sum())
    return float(np.clip((observed.bits[where] == 1).mean(), MIN_PROBABILITY, 1.0 - MIN_PROBABILITY)) if num else 0.5


def _bernoulli(probabilities: Floats, observed: ObservedAnswers) -> float:
    """The log-likelihood of the known bits; `probabilities`: Pr(right), [answers, positions]."""
    known = observed.is_known
    return float(np.log(np.where(observed.bits[known] == 1, probabilities[known], 1.0 - probabilities[known])).sum())

"""Generators fitted to judged answers: each by maximum likelihood, as a config that can be pasted into a scenario."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray

from goodspeed.simulator.acceptance.confidence import ConfidenceConfig
from goodspeed.simulator.acceptance.drifting import DriftingConfig
from goodspeed.simulator.acceptance.fixed import FixedConfig
from goodspeed.simulator.acceptance.hidden_markov import STARTS, fill_in, fit_chain
from goodspeed.simulator.acceptance.hidden_markov import log_likelihood as chain_log_likelihood
from goodspeed.simulator.acceptance.models import AcceptanceConfig, acceptance_model
from goodspeed.simulator.acceptance.observed_answers import ObservedAnswers
from goodspeed.simulator.acceptance.positional import PositionalConfig
from goodspeed.simulator.acceptance.renewal import RenewalConfig

Floats = NDArray[np.float64]

NUM_DEPTHS = 8
NUM_SPELLS = 8  # of `drifting`
LEAST = 1e-6

NODES = hermegauss(15)[0], hermegauss(15)[1] / hermegauss(15)[1].sum()
"""Where a standard normal intercept is looked at, and with which weight."""
FIRST_SPREAD = 0.5
MAX_PASSES = 60
NUM_SAMPLED, PLACES_SAMPLED = 200, 120
MOST_CONCENTRATION = 1e3
RIDGE = 1e-6  # a run length that never occurs has no curvature


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of generator."""

    num_parameters: int
    fit: Callable[[ObservedAnswers], AcceptanceConfig]
    log_likelihood: Callable[[AcceptanceConfig, ObservedAnswers], float]
    """Natural, of every known bit given the known ones before it in its answer."""


def fit_fixed(judged: ObservedAnswers) -> AcceptanceConfig:
    """The share of right tokens among those that are known."""
    return AcceptanceConfig("fixed", fixed=FixedConfig(_rate(judged, judged.is_known)))


def fit_positional(judged: ObservedAnswers) -> AcceptanceConfig:
    """The same by depth; one at which nothing is known has the rate of the one before."""
    depths = np.minimum(judged.depths, NUM_DEPTHS - 1)
    rates: list[float] = []
    for depth in range(NUM_DEPTHS):
        here = judged.is_known & (depths == depth)
        rates.append(_rate(judged, here) if here.any() or not rates else rates[-1])
    return AcceptanceConfig("positional", positional=PositionalConfig(tuple(rates)))


def fit_drifting(judged: ObservedAnswers) -> AcceptanceConfig:
    """The same by the answers' order, in spells of as many answers each."""
    num_answers = -(-len(judged.lengths) // NUM_SPELLS)
    spells = np.arange(len(judged.lengths)) // num_answers
    rates = tuple(_rate(judged, judged.is_known & (spells == spell)[:, None]) for spell in range(int(spells[-1]) + 1))
    return AcceptanceConfig("drifting", drifting=DriftingConfig(rates, num_answers, is_cyclic=False))


def fit_markov(judged: ObservedAnswers) -> AcceptanceConfig:
    """Baum and Welch's re-estimation."""
    return AcceptanceConfig("markov", markov=fit_chain(judged))


def fit_renewal(judged: ObservedAnswers) -> AcceptanceConfig:
    """The share of right tokens after as many right ones. Unknown places are first filled in by the likeliest chain."""
    places, rights = (counts.sum(axis=0) for counts in _run_counts(judged))
    rates = np.clip((rights + 0.5) / (places + 1.0), LEAST, 1.0 - LEAST)
    return AcceptanceConfig("renewal", renewal=RenewalConfig(tuple(rates.tolist())))


def fit_spread(judged: ObservedAnswers) -> AcceptanceConfig:
    """The same, and how much answers differ.

    A logistic regression on run length with a normal intercept for each answer, by expectation and maximisation; the
    intercept is integrated over NODES (Gauss-Hermite).
    """
    places, rights = _run_counts(judged)
    nodes, weights = NODES
    start = np.array(fit_renewal(judged).renewal.rates)
    slopes = np.append(np.log(start / (1.0 - start)), FIRST_SPREAD)  # of each run length, and of the node
    cells = np.array([[*np.eye(NUM_DEPTHS)[run], node] for run in range(NUM_DEPTHS) for node in nodes])
    for _ in range(MAX_PASSES):
        chances = _expit(cells @ slopes).reshape(NUM_DEPTHS, len(nodes))
        fits = rights @ np.log(chances) + (places - rights) @ np.log1p(-chances) + np.log(weights)  # [answers, nodes]
        shares = np.exp(fits - fits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        slopes = _regressed(cells, slopes, (places.T @ shares).ravel(), (rights.T @ shares).ravel())
    rates = tuple(_expit(slopes[:-1]).tolist())
    return AcceptanceConfig("renewal", renewal=RenewalConfig(rates, abs(float(slopes[-1]))))


def _regressed(cells: Floats, slopes: Floats, places: Floats, rights: Floats) -> Floats:
    """One step of Newton's: cells [n, m], slopes [m], weighted trials and successes [n]."""
    chances = _expit(cells @ slopes)
    gradient = cells.T @ (rights - places * chances)
    curvature = (cells * (places * chances * (1.0 - chances))[:, None]).T @ cells
    step = np.linalg.solve(curvature + RIDGE * np.eye(len(slopes)), gradient)
    moved: Floats = slopes + np.clip(step, -1.0, 1.0)
    return moved


def _run_counts(judged: ObservedAnswers) -> tuple[Floats, Floats]:
    """[answers, NUM_DEPTHS]: places after so many right tokens, and how many of them are right."""
    bits = judged.bits == 1
    if not np.array_equal(judged.is_known.sum(axis=1), judged.lengths):
        bits = fill_in(fit_chain(judged, STARTS[:1]), judged, np.random.default_rng(0))
    runs = np.minimum(_runs(bits), NUM_DEPTHS - 1)
    is_inside = np.arange(bits.shape[1]) < judged.lengths[:, None]
    here = is_inside[:, :, None] & (runs[:, :, None] == np.arange(NUM_DEPTHS))
    return here.sum(axis=1).astype(float), (here & bits[:, :, None]).sum(axis=1).astype(float)


def _expit(log_odds: Floats) -> Floats:
    chances: Floats = np.clip(1.0 / (1.0 + np.exp(-log_odds)), LEAST, 1.0 - LEAST)
    return chances


def fit_confidence(config: AcceptanceConfig, judged: ObservedAnswers) -> ConfidenceConfig:
    """The concentration at which the generator's reports vary as much as the recorded ones.

    Var(report) = Var(chance) + E[chance (1 - chance)] / (concentration + 1); a generator that is sure of its chance
    reports it. If the chances alone vary more than the recorded reports, they are reported as they are.
    """
    chances = _chances(replace(config, confidence=ConfidenceConfig(math.inf)))
    reported = judged.confidences[judged.is_known]
    excess = float(reported.var() - chances.var())
    noise = float((chances * (1.0 - chances)).mean())
    if excess * MOST_CONCENTRATION <= noise:
        return ConfidenceConfig(math.inf)
    return ConfidenceConfig(max(LEAST, noise / excess - 1.0))


def _chances(config: AcceptanceConfig) -> Floats:
    """Of many answers' places, at the depths of drafts without end."""
    model, found = acceptance_model(config), []
    for request in range(NUM_SAMPLED):
        trace, run = model.new_trace(0, request, np.random.default_rng(request)), 0
        for place in range(PLACES_SAMPLED):
            found.append(trace.confidence(place, run))
            run = run + 1 if trace.is_right(place, run) else 0
    return np.array(found)


def _fixed_log_likelihood(config: AcceptanceConfig, judged: ObservedAnswers) -> float:
    return _bernoulli(np.full(judged.bits.shape, config.fixed.rate), judged)


def _positional_log_likelihood(config: AcceptanceConfig, judged: ObservedAnswers) -> float:
    rates = np.array(config.positional.rates)
    return _bernoulli(rates[np.minimum(judged.depths, len(rates) - 1)], judged)


def _drifting_log_likelihood(config: AcceptanceConfig, judged: ObservedAnswers) -> float:
    rates = np.array([config.drifting.rate(request) for request in range(len(judged.lengths))])
    return _bernoulli(np.broadcast_to(rates[:, None], judged.bits.shape), judged)


def _markov_log_likelihood(config: AcceptanceConfig, judged: ObservedAnswers) -> float:
    return chain_log_likelihood(config.markov, judged)


def _renewal_log_likelihood(config: AcceptanceConfig, judged: ObservedAnswers) -> float:
    """Integrated over how easy each answer is."""
    if not config.renewal.spread:
        return float(_run_log_likelihood(config.renewal.rates, judged).sum())
    nodes, weights = NODES
    each = np.array([_run_log_likelihood(config.renewal.of_answer(node), judged) for node in nodes.tolist()])
    return float(np.logaddexp.reduce(each + np.log(weights)[:, None], axis=0).sum())


def _run_log_likelihood(rates: Sequence[float], judged: ObservedAnswers) -> Floats:
    """[answers]: by the distribution of the run given what is known so far, place after place."""
    bounded = np.clip(rates, LEAST, 1.0 - LEAST)
    runs = np.zeros((len(judged.lengths), len(bounded)))
    runs[:, 0] = 1.0
    total = np.zeros(len(judged.lengths))
    for bits in judged.bits.T:
        right = np.where((bits == 0)[:, None], 0.0, runs * bounded)  # [answers, runs] joint with the bit, where known
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
    "drifting": Family(NUM_SPELLS, fit_drifting, _drifting_log_likelihood),
    "markov": Family(4, fit_markov, _markov_log_likelihood),
    "renewal": Family(NUM_DEPTHS, fit_renewal, _renewal_log_likelihood),
    "renewal, spread": Family(NUM_DEPTHS + 1, fit_spread, _renewal_log_likelihood),
}


def _runs(bits: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[answers, places]: right ones in a row just before each place."""
    places = np.arange(bits.shape[1])
    last_wrong: NDArray[np.int64] = np.maximum.accumulate(np.where(bits, -1, places), axis=1)
    before: NDArray[np.int64] = np.concatenate((np.full((len(bits), 1), -1), last_wrong[:, :-1]), axis=1)
    return np.subtract(places - 1, before)


def _rate(judged: ObservedAnswers, where: NDArray[np.bool_]) -> float:
    """Share of right ones; never quite 0 or 1, so that no held-out bit is impossible."""
    num = int(where.sum())
    return float(np.clip((judged.bits[where] == 1).mean(), LEAST, 1.0 - LEAST)) if num else 0.5


def _bernoulli(chances: Floats, judged: ObservedAnswers) -> float:
    """[answers, places] Pr(right)."""
    known = judged.is_known
    return float(np.log(np.where(judged.bits[known] == 1, chances[known], 1.0 - chances[known])).sum())

"""The hidden two-state chain of `markov`: fit to observed answers, and imputation of unknown positions.

A hidden Markov model with Bernoulli emissions; unknown positions carry no evidence. Forward-backward and re-estimation
follow Rabiner (1989), sections III and IV, in scaled form. The chain starts in its stationary distribution.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from goodspeed.simulator.acceptance.markov import MarkovConfig
from goodspeed.simulator.acceptance.observed_answers import ObservedAnswers

Floats = NDArray[np.float64]

STARTS = (
    MarkovConfig(easy_rate=0.95, hard_rate=0.3, to_hard=0.1, to_easy=0.1),
    MarkovConfig(easy_rate=0.8, hard_rate=0.5, to_hard=0.03, to_easy=0.03),
)
"""Re-estimation finds a local maximum: short states that differ much, or long ones that differ little."""
MAX_PASSES = 100
MIN_GAIN = 3e-6
"""Re-estimation stops when a pass raises the log-likelihood per token by less."""
MIN_PROBABILITY = 1e-6  # re-estimation could never leave a rate or transition of 0


@dataclass(frozen=True, slots=True)
class _Forward:
    """The forward pass. State 0 is easy, 1 hard."""

    filtered: Floats  # [positions, answers, 2] Pr(state | evidence up to here)
    scales: Floats  # [positions, answers] Pr(evidence here | evidence before)


def fit_chain(observed: ObservedAnswers, starts: Iterable[MarkovConfig] = STARTS) -> MarkovConfig:
    """The most likely chain that Baum-Welch re-estimation reaches from any of the starts."""
    return max((_re_estimate(start, observed) for start in starts), key=lambda chain: log_likelihood(chain, observed))


def log_likelihood(chain: MarkovConfig, observed: ObservedAnswers) -> float:
    """The natural log-likelihood of all known bits."""
    return float(np.log(_forward(chain, observed).scales).sum())


def impute_bits(chain: MarkovConfig, observed: ObservedAnswers, rng: np.random.Generator) -> NDArray[np.bool_]:
    """All bits, bool [answers, positions]; the unknown ones are drawn given all known ones before and after.

    States are drawn backwards from their filtered distributions (Chib 1996), so neighbouring unknown positions have
    the right joint distribution.
    """
    filtered, transitions = _forward(chain, observed).filtered, _transitions(chain)
    num_positions, num_answers, _ = filtered.shape
    uniforms = rng.random((num_positions, num_answers))
    is_hard = np.empty((num_positions, num_answers), dtype=np.int64)
    is_hard[-1] = uniforms[-1] >= filtered[-1, :, 0]
    for position in range(num_positions - 2, -1, -1):
        weights = filtered[position] * transitions[:, is_hard[position + 1]].T
        is_hard[position] = uniforms[position] * weights.sum(axis=1) >= weights[:, 0]
    drawn = rng.random(observed.bits.shape) < _rates(chain)[is_hard.T]
    return np.where(observed.is_known, observed.bits == 1, drawn)


def _re_estimate(chain: MarkovConfig, observed: ObservedAnswers) -> MarkovConfig:
    num_known, before = int(observed.is_known.sum()), -np.inf
    for _ in range(MAX_PASSES):
        forward = _forward(chain, observed)
        now = float(np.log(forward.scales).sum())
        if now - before < MIN_GAIN * num_known:
            break
        before, chain = now, _one_pass(chain, observed, forward)
    return chain


def _one_pass(chain: MarkovConfig, observed: ObservedAnswers, forward: _Forward) -> MarkovConfig:
    """One pass of expectation and maximisation."""
    emissions, transitions = _emissions(chain, observed), _transitions(chain)
    backward = np.ones_like(forward.filtered)
    for position in range(len(backward) - 2, -1, -1):
        seen = emissions[position + 1] * backward[position + 1] / forward.scales[position + 1][:, None]
        backward[position] = seen @ transitions.T
    states = forward.filtered * backward  # [positions, answers, 2] Pr(state | all evidence)
    seen = emissions[1:] * backward[1:] / forward.scales[1:][:, :, None]
    is_inside = np.arange(1, len(states))[:, None] < observed.lengths  # [positions - 1, answers]
    pairs = np.einsum("pai,ij,paj,pa->ij", forward.filtered[:-1], transitions, seen, is_inside)
    known = observed.is_known.T[:, :, None] * states
    rates = (known * (observed.bits.T == 1)[:, :, None]).sum(axis=(0, 1)) / (known.sum(axis=(0, 1)) + MIN_PROBABILITY)
    leaving = pairs / (pairs.sum(axis=1, keepdims=True) + MIN_PROBABILITY)
    easy_rate, hard_rate, to_hard, to_easy = np.clip(
        [*rates, leaving[0, 1], leaving[1, 0]], MIN_PROBABILITY, 1 - MIN_PROBABILITY
    ).tolist()
    if easy_rate >= hard_rate:
        return MarkovConfig(easy_rate, hard_rate, to_hard, to_easy)
    return MarkovConfig(hard_rate, easy_rate, to_easy, to_hard)


def _forward(chain: MarkovConfig, observed: ObservedAnswers) -> _Forward:
    emissions, transitions = _emissions(chain, observed), _transitions(chain)
    filtered, scales = np.empty_like(emissions), np.empty(emissions.shape[:2])
    expected = np.broadcast_to([chain.easy_share, 1.0 - chain.easy_share], emissions.shape[1:])
    for position, evidence in enumerate(emissions):
        joint = expected * evidence
        scales[position] = joint.sum(axis=1)
        filtered[position] = joint / scales[position][:, None]
        expected = filtered[position] @ transitions
    return _Forward(filtered, scales)


def _emissions(chain: MarkovConfig, observed: ObservedAnswers) -> Floats:
    """Pr(evidence at the position | state), [positions, answers, 2]."""
    bits, rates = observed.bits.T[:, :, None], _rates(chain)
    return np.where(bits < 0, 1.0, np.where(bits == 1, rates, 1.0 - rates))


def _transitions(chain: MarkovConfig) -> Floats:
    """The transition matrix, [from, to]."""
    return np.array([[1.0 - chain.to_hard, chain.to_hard], [chain.to_easy, 1.0 - chain.to_easy]])


def _rates(chain: MarkovConfig) -> Floats:
    return np.array([chain.easy_rate, chain.hard_rate])

"""The hidden two-state chain of `markov`, fitted to what is known and filled in where it is not.

A hidden Markov model with Bernoulli emissions; unknown places carry no evidence. Forward-backward and re-estimation as
in Rabiner (1989), sections III and IV, in log-free scaled form; the chain begins in its stationary distribution.
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
"""Re-estimation climbs to the nearest top: of short spells that differ much, or of long ones that differ little."""
MAX_PASSES = 100
ENOUGH = 3e-6
"""A pass that raises the log-likelihood of a token by less is the last."""
LEAST = 1e-6  # a rate or transition of 0 would never be left again


@dataclass(frozen=True, slots=True)
class _Forward:
    """State 0 is easy, 1 hard."""

    filtered: Floats  # [places, answers, 2] Pr(state | what is known up to here)
    scales: Floats  # [places, answers] Pr(what is known here | what is known before)


def fit_chain(judged: ObservedAnswers, starts: Iterable[MarkovConfig] = STARTS) -> MarkovConfig:
    """The likeliest chain that Baum and Welch's climb reaches from any of the starts."""
    return max((_climb(start, judged) for start in starts), key=lambda chain: log_likelihood(chain, judged))


def log_likelihood(chain: MarkovConfig, judged: ObservedAnswers) -> float:
    """Natural, of all that is known."""
    return float(np.log(_forward(chain, judged).scales).sum())


def fill_in(chain: MarkovConfig, judged: ObservedAnswers, rng: np.random.Generator) -> NDArray[np.bool_]:
    """All bits, [answers, places]: the unknown ones drawn given everything that is known before and after.

    States are drawn backwards from their filtered distributions (Chib 1996), so neighbouring unknown places come
    together as they should.
    """
    filtered, moves = _forward(chain, judged).filtered, _moves(chain)
    num_places, num_answers, _ = filtered.shape
    uniforms = rng.random((num_places, num_answers))
    is_hard = np.empty((num_places, num_answers), dtype=np.int64)
    is_hard[-1] = uniforms[-1] >= filtered[-1, :, 0]
    for place in range(num_places - 2, -1, -1):
        weights = filtered[place] * moves[:, is_hard[place + 1]].T
        is_hard[place] = uniforms[place] * weights.sum(axis=1) >= weights[:, 0]
    drawn = rng.random(judged.bits.shape) < _rates(chain)[is_hard.T]
    return np.where(judged.is_known, judged.bits == 1, drawn)


def _climb(chain: MarkovConfig, judged: ObservedAnswers) -> MarkovConfig:
    num_known, before = int(judged.is_known.sum()), -np.inf
    for _ in range(MAX_PASSES):
        forward = _forward(chain, judged)
        now = float(np.log(forward.scales).sum())
        if now - before < ENOUGH * num_known:
            break
        before, chain = now, _re_estimated(chain, judged, forward)
    return chain


def _re_estimated(chain: MarkovConfig, judged: ObservedAnswers, forward: _Forward) -> MarkovConfig:
    """One pass of expectation and maximisation."""
    emissions, moves = _emissions(chain, judged), _moves(chain)
    backward = np.ones_like(forward.filtered)
    for place in range(len(backward) - 2, -1, -1):
        seen = emissions[place + 1] * backward[place + 1] / forward.scales[place + 1][:, None]
        backward[place] = seen @ moves.T
    states = forward.filtered * backward  # [places, answers, 2] Pr(state | all that is known)
    seen = emissions[1:] * backward[1:] / forward.scales[1:][:, :, None]
    is_inside = np.arange(1, len(states))[:, None] < judged.lengths  # [places - 1, answers]
    pairs = np.einsum("pai,ij,paj,pa->ij", forward.filtered[:-1], moves, seen, is_inside)
    known = judged.is_known.T[:, :, None] * states
    rates = (known * (judged.bits.T == 1)[:, :, None]).sum(axis=(0, 1)) / (known.sum(axis=(0, 1)) + LEAST)
    leaving = pairs / (pairs.sum(axis=1, keepdims=True) + LEAST)
    easy_rate, hard_rate, to_hard, to_easy = np.clip([*rates, leaving[0, 1], leaving[1, 0]], LEAST, 1 - LEAST).tolist()
    if easy_rate >= hard_rate:
        return MarkovConfig(easy_rate, hard_rate, to_hard, to_easy)
    return MarkovConfig(hard_rate, easy_rate, to_easy, to_hard)


def _forward(chain: MarkovConfig, judged: ObservedAnswers) -> _Forward:
    emissions, moves = _emissions(chain, judged), _moves(chain)
    filtered, scales = np.empty_like(emissions), np.empty(emissions.shape[:2])
    expected = np.broadcast_to([chain.easy_share, 1.0 - chain.easy_share], emissions.shape[1:])
    for place, evidence in enumerate(emissions):
        joint = expected * evidence
        scales[place] = joint.sum(axis=1)
        filtered[place] = joint / scales[place][:, None]
        expected = filtered[place] @ moves
    return _Forward(filtered, scales)


def _emissions(chain: MarkovConfig, judged: ObservedAnswers) -> Floats:
    """[places, answers, 2]: Pr(what is known of the place | state)."""
    bits, rates = judged.bits.T[:, :, None], _rates(chain)
    return np.where(bits < 0, 1.0, np.where(bits == 1, rates, 1.0 - rates))


def _moves(chain: MarkovConfig) -> Floats:
    """[from, to]."""
    return np.array([[1.0 - chain.to_hard, chain.to_hard], [chain.to_easy, 1.0 - chain.to_easy]])


def _rates(chain: MarkovConfig) -> Floats:
    return np.array([chain.easy_rate, chain.hard_rate])

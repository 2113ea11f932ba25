"""Utility weights are the derivatives that they claim to be."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from goodspeed.scheduling.optimum import long_run_optimum
from goodspeed.scheduling.scheduler import ClientView
from goodspeed.tuning.evaluate.renewal import expected_rounds, round_start_probs, rounds_saved
from goodspeed.tuning.train.utility_weights import AllocationProblem, ClientAcceptance, token_weights

RNG = np.random.default_rng(0)
CHANCES = RNG.random(30).tolist()


@pytest.mark.parametrize("grant", [1.0, 3.0, 2.25])
def test_rounds_saved_is_the_derivative_of_the_rounds(grant: float) -> None:
    """ExpectedRounds are linear in each chance, so the difference quotient is exact."""
    saved = rounds_saved(CHANCES, grant)
    for place in range(len(CHANCES)):
        low, high = list(CHANCES), list(CHANCES)
        low[place], high[place] = 0.0, 1.0
        fewer = round_start_probs(low, grant).sum() - round_start_probs(high, grant).sum()
        assert saved[place] == pytest.approx(fewer, abs=1e-12)
        assert saved[place] >= -1e-12


def test_rounds_begin_as_often_as_there_are_rounds() -> None:
    assert round_start_probs(CHANCES, 4.0).sum() == pytest.approx(expected_rounds(CHANCES, 4).num_rounds)
    assert round_start_probs(CHANCES, 0.0).tolist() == [1.0] * len(CHANCES)  # every token is the target's own


def test_weights_are_what_the_optimum_gains() -> None:
    """Every chance of the second client a little higher: the optimum, with new grants, gains what the weights say."""
    clients = [
        ClientAcceptance(name, weight, _answers(level)) for name, weight, level in (("a", 1, 0.3), ("b", 2, 0.7))
    ]
    share, step = AllocationProblem(budget=5), 1e-3
    weights = token_weights(clients, share)
    gains = [_utility_gain(clients, share, number, step) / step for number in range(2)]
    claimed = [sum(float(answer.sum()) for answer in each) for each in weights]
    assert claimed[0] / claimed[1] == pytest.approx(gains[0] / gains[1], rel=0.05)
    assert np.mean(np.concatenate([answer for each in weights for answer in each])) == pytest.approx(1.0)


def _answers(level: float) -> list[list[float]]:
    return [np.clip(level + 0.2 * RNG.standard_normal(400), 0.05, 0.9).tolist() for _ in range(3)]


def _utility_gain(clients: list[ClientAcceptance], share: AllocationProblem, number: int, step: float) -> float:
    better = list(clients)
    answers = [[chance + step for chance in answer] for answer in clients[number].answers]
    better[number] = replace(clients[number], answers=answers)
    return share.optimum(better).utility - share.optimum(clients).utility


def test_place_formula_holds_for_a_survival_curve() -> None:
    """dV/da_k = w U'(X) s_(k-1) (1 + continuation), the grants being optimal: docs/utility_tuning.md, equation 3."""
    rates = np.array([[0.5, 0.6, 0.7, 0.7], [0.8, 0.8, 0.7, 0.6]])
    weights = (1.0, 3.0)
    best = long_run_optimum(_views(rates, weights), 4)
    for client in range(2):
        fill = np.clip(best.grants[client] - np.arange(4), 0.0, 1.0)
        for place in range(4):
            before = np.prod(rates[client, :place])
            after = sum(fill[j] * np.prod(rates[client, place + 1 : j + 1]) for j in range(place, 4))
            claimed = weights[client] / best.goodputs[client] * before * after
            more = rates.copy()
            more[client, place] += 1e-5
            gained = (long_run_optimum(_views(more, weights), 4).utility - best.utility) / 1e-5
            assert gained == pytest.approx(claimed, rel=1e-3, abs=1e-4)


def _views(rates: npt.NDArray[np.float64], weights: tuple[float, ...]) -> list[ClientView]:
    curves = [tuple(np.cumprod(row).tolist()) for row in rates]
    return [
        ClientView(0.5, 1.0, weight, max_grant=4, survival=curve) for weight, curve in zip(weights, curves, strict=True)
    ]


def test_under_long_grants_every_token_of_a_client_counts_the_same() -> None:
    """R = 1 + sum of (1 - a): one rejection less, one round less, wherever. Between clients w U'(X) X^2 / N decides."""
    clients = [ClientAcceptance("a", 1.0, _answers(0.2)), ClientAcceptance("b", 2.0, _answers(0.5))]
    share = AllocationProblem(budget=80, max_grant=40)
    weights = token_weights(clients, share)
    for each in weights:
        inner = np.concatenate([answer[1:-41] for answer in each])
        assert inner.std() < 0.02 * inner.mean()
    goodputs = share.optimum(clients).goodputs
    ratio = float(np.mean(np.concatenate(weights[1])) / np.mean(np.concatenate(weights[0])))
    assert ratio == pytest.approx(2.0 * goodputs[1] / goodputs[0], rel=0.05)


def test_under_short_grants_tokens_that_are_drafted_count_more_than_those_that_are_not() -> None:
    """Grant 1 in a text where every other token is always met: each round drafts it, and the target says the other."""
    chances = [1.0, 0.0] * 30
    (weights,) = token_weights([ClientAcceptance("a", 1.0, [chances])], AllocationProblem(budget=1))[0]
    assert weights[::2].mean() > 10 * weights[1::2].mean()


def test_client_of_greater_weight_counts_more() -> None:
    answers = _answers(0.5)
    light, heavy = token_weights(
        [ClientAcceptance("a", 1.0, answers), ClientAcceptance("b", 4.0, answers)], AllocationProblem(budget=4)
    )
    assert sum(map(np.sum, heavy)) > 2 * sum(map(np.sum, light))

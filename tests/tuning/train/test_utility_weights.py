"""Utility weights are the derivatives of the utility."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from goodspeed.scheduling.optimum import long_run_optimum
from goodspeed.scheduling.scheduler import ClientView
from goodspeed.tuning.evaluate.renewal import expected_rounds, round_start_probs, rounds_saved
from goodspeed.tuning.train.utility_weights import AllocationProblem, ClientAcceptance, token_weights

RNG = np.random.default_rng(0)
ACCEPTANCE_PROBS = RNG.random(30).tolist()


@pytest.mark.parametrize("grant", [1.0, 3.0, 2.25])
def test_rounds_saved_is_the_derivative_of_the_rounds(grant: float) -> None:
    """The number of rounds is linear in each probability, so the difference quotient is exact."""
    saved = rounds_saved(ACCEPTANCE_PROBS, grant)
    for position in range(len(ACCEPTANCE_PROBS)):
        low, high = list(ACCEPTANCE_PROBS), list(ACCEPTANCE_PROBS)
        low[position], high[position] = 0.0, 1.0
        fewer = round_start_probs(low, grant).sum() - round_start_probs(high, grant).sum()
        assert saved[position] == pytest.approx(fewer, abs=1e-12)
        assert saved[position] >= -1e-12


def test_start_probabilities_sum_to_the_expected_rounds() -> None:
    assert round_start_probs(ACCEPTANCE_PROBS, 4.0).sum() == pytest.approx(
        expected_rounds(ACCEPTANCE_PROBS, 4).num_rounds
    )
    assert round_start_probs(ACCEPTANCE_PROBS, 0.0).tolist() == [1.0] * len(
        ACCEPTANCE_PROBS
    )  # every token is the target's own


def test_weights_are_the_derivative_of_the_optimum() -> None:
    """With slightly higher acceptance of one client, the optimum with new grants gains what the weights predict."""
    clients = [
        ClientAcceptance(name, weight, _answers(level)) for name, weight, level in (("a", 1, 0.3), ("b", 2, 0.7))
    ]
    problem, step = AllocationProblem(budget=5), 1e-3
    weights = token_weights(clients, problem)
    gains = [_utility_gain(clients, problem, number, step) / step for number in range(2)]
    predicted = [sum(float(answer.sum()) for answer in each) for each in weights]
    assert predicted[0] / predicted[1] == pytest.approx(gains[0] / gains[1], rel=0.05)
    assert np.mean(np.concatenate([answer for each in weights for answer in each])) == pytest.approx(1.0)


def _answers(level: float) -> list[list[float]]:
    return [np.clip(level + 0.2 * RNG.standard_normal(400), 0.05, 0.9).tolist() for _ in range(3)]


def _utility_gain(clients: list[ClientAcceptance], problem: AllocationProblem, number: int, step: float) -> float:
    better = list(clients)
    answers = [[prob + step for prob in answer] for answer in clients[number].answers]
    better[number] = replace(clients[number], answers=answers)
    return problem.optimum(better).utility - problem.optimum(clients).utility


def test_derivative_by_draft_position_holds_for_a_survival_curve() -> None:
    """dV/da_k = w U'(X) s_(k-1) (1 + continuation), at optimal grants: docs/explain/utility_weights.md, equation 3."""
    rates = np.array([[0.5, 0.6, 0.7, 0.7], [0.8, 0.8, 0.7, 0.6]])
    weights = (1.0, 3.0)
    optimum = long_run_optimum(_views(rates, weights), 4)
    for client in range(2):
        fill = np.clip(optimum.grants[client] - np.arange(4), 0.0, 1.0)
        for position in range(4):
            before = np.prod(rates[client, :position])
            after = sum(fill[j] * np.prod(rates[client, position + 1 : j + 1]) for j in range(position, 4))
            predicted = weights[client] / optimum.goodputs[client] * before * after
            more = rates.copy()
            more[client, position] += 1e-5
            measured = (long_run_optimum(_views(more, weights), 4).utility - optimum.utility) / 1e-5
            assert measured == pytest.approx(predicted, rel=1e-3, abs=1e-4)


def _views(rates: npt.NDArray[np.float64], weights: tuple[float, ...]) -> list[ClientView]:
    curves = [tuple(np.cumprod(row).tolist()) for row in rates]
    return [
        ClientView(0.5, 1.0, weight, max_grant=4, survival=curve) for weight, curve in zip(weights, curves, strict=True)
    ]


def test_long_grants_weight_all_tokens_of_a_client_equally() -> None:
    """R = 1 + sum of (1 - a): each rejection costs one round. Weights of clients are as w U'(X) X^2 / N."""
    clients = [ClientAcceptance("a", 1.0, _answers(0.2)), ClientAcceptance("b", 2.0, _answers(0.5))]
    problem = AllocationProblem(budget=80, max_grant=40)
    weights = token_weights(clients, problem)
    for each in weights:
        inner = np.concatenate([answer[1:-41] for answer in each])
        assert inner.std() < 0.02 * inner.mean()
    goodputs = problem.optimum(clients).goodputs
    ratio = float(np.mean(np.concatenate(weights[1])) / np.mean(np.concatenate(weights[0])))
    assert ratio == pytest.approx(2.0 * goodputs[1] / goodputs[0], rel=0.05)


def test_short_grants_weight_drafted_tokens_more() -> None:
    """Grant 1, every other token always accepted: each round drafts that token, and the target adds the next."""
    acceptance_probs = [1.0, 0.0] * 30
    (weights,) = token_weights([ClientAcceptance("a", 1.0, [acceptance_probs])], AllocationProblem(budget=1))[0]
    assert weights[::2].mean() > 10 * weights[1::2].mean()


def test_tokens_of_a_client_with_a_larger_weight_weigh_more() -> None:
    answers = _answers(0.5)
    light, heavy = token_weights(
        [ClientAcceptance("a", 1.0, answers), ClientAcceptance("b", 4.0, answers)], AllocationProblem(budget=4)
    )
    assert sum(map(np.sum, heavy)) > 2 * sum(map(np.sum, light))

"""The hidden Markov chain: likelihood, parameter recovery and imputation."""

import itertools

import numpy as np
import pytest

from goodspeed.simulator.acceptance.hidden_markov import STARTS, fit_chain, impute_bits, log_likelihood
from goodspeed.simulator.acceptance.markov import MarkovConfig
from goodspeed.simulator.acceptance.models import AcceptanceConfig, acceptance_model
from goodspeed.simulator.acceptance.observed_answers import ObservedAnswers, observed_answers
from goodspeed.testing.live_answer import live_answer, live_answers

CHAIN = MarkovConfig(easy_rate=0.9, hard_rate=0.2, to_hard=0.1, to_easy=0.3)


def observed(*rows: str) -> ObservedAnswers:
    bits = np.array([[{"1": 1, "0": 0, "?": -1}[place] for place in row] for row in rows], dtype=np.int8)
    return ObservedAnswers(
        bits, np.zeros(bits.shape, dtype=np.int64), np.zeros(bits.shape), np.array([bits.shape[1]] * len(rows))
    )


def by_hand(text: str) -> float:
    """The likelihood as a sum over all state sequences."""
    rates, transitions, start = (0.9, 0.2), ((0.9, 0.1), (0.3, 0.7)), (0.75, 0.25)
    total = 0.0
    for states in itertools.product((0, 1), repeat=len(text)):
        probability = start[states[0]]
        for before, after in itertools.pairwise(states):
            probability *= transitions[before][after]
        for state, place in zip(states, text, strict=True):
            probability *= {"1": rates[state], "0": 1 - rates[state], "?": 1.0}[place]
        total += probability
    return total


@pytest.mark.parametrize("text", ["1", "0", "110", "1?0", "??", "0?1?10"])
def test_likelihood_is_the_sum_over_all_state_sequences(text: str) -> None:
    assert log_likelihood(CHAIN, observed(text)) == pytest.approx(np.log(by_hand(text)))
    assert log_likelihood(CHAIN, observed(text, text)) == pytest.approx(2 * np.log(by_hand(text)))


def test_unknown_bits_are_imputed_from_their_joint_distribution() -> None:
    """Two unknown bits: each of the four outcomes is within 4 standard errors of its exact probability."""
    num = 20_000
    imputed = impute_bits(CHAIN, observed(*["11??0"] * num), np.random.default_rng(1))
    assert np.all(imputed[:, :2])
    assert not imputed[:, 4].any()
    for pair in ("00", "01", "10", "11"):
        probability = by_hand(f"11{pair}0") / by_hand("11??0")
        share = np.mean((imputed[:, 2] == (pair[0] == "1")) & (imputed[:, 3] == (pair[1] == "1")))
        assert abs(share - probability) < 4 * np.sqrt(probability * (1 - probability) / num)


def test_parameters_are_recovered_from_a_live_acceptance_trace() -> None:
    """300 answers of 120 tokens at window 3: one eighth is unknown. Tolerances are about 4 standard errors."""
    config = AcceptanceConfig("markov", markov=CHAIN)
    found = fit_chain(observed_answers(live_answers(config, 300, 3)), STARTS[:1])
    assert found.stationary_rate == pytest.approx(CHAIN.stationary_rate, abs=0.02)
    assert found.easy_rate == pytest.approx(0.9, abs=0.03)
    assert found.hard_rate == pytest.approx(0.2, abs=0.06)
    assert found.to_hard == pytest.approx(0.1, abs=0.03)
    assert found.to_easy == pytest.approx(0.3, abs=0.06)


def test_padding_of_short_answers_carries_no_evidence() -> None:
    model = acceptance_model(AcceptanceConfig("markov", markov=CHAIN))
    traces = [model.new_trace(0, request, np.random.default_rng(request)) for request in range(300)]
    mixed = [live_answer(trace, 20 if i % 2 else 120, 3) for i, trace in enumerate(traces)]
    found = fit_chain(observed_answers(mixed), STARTS[:1])
    assert found.stationary_rate == pytest.approx(CHAIN.stationary_rate, abs=0.025)

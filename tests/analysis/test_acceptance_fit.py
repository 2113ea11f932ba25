"""Models are recovered from their own samples, and distinguished from each other. Seeds are fixed."""

import math
from dataclasses import replace

import numpy as np
import pytest

from goodspeed.analysis.acceptance_fit import FAMILIES, fit_confidence
from goodspeed.analysis.goodness_of_fit import WINDOWS, GoodnessOfFit, goodness_of_fit
from goodspeed.records.acceptance_trace import RIGHT, WRONG, TracedAnswer
from goodspeed.simulator.acceptance.confidence import ConfidenceConfig
from goodspeed.simulator.acceptance.drifting import DriftingConfig
from goodspeed.simulator.acceptance.fixed import FixedConfig
from goodspeed.simulator.acceptance.markov import MarkovConfig
from goodspeed.simulator.acceptance.models import AcceptanceConfig, acceptance_model
from goodspeed.simulator.acceptance.observed_answers import ObservedAnswers, observed_answers
from goodspeed.simulator.acceptance.positional import PositionalConfig
from goodspeed.simulator.acceptance.renewal import RenewalConfig
from goodspeed.testing.live_answer import live_answer

NUM_TOKENS = 120
RENEWAL = AcceptanceConfig(
    "renewal", renewal=RenewalConfig((0.3, 0.6, 0.8, 0.9), 0.6), confidence=ConfidenceConfig(2.0)
)
FIXED = AcceptanceConfig(fixed=FixedConfig(0.6), confidence=ConfidenceConfig(2.0))
ALIKE = AcceptanceConfig("renewal", renewal=RenewalConfig((0.3, 0.6, 0.8, 0.9)))
MARKOV = AcceptanceConfig("markov", markov=MarkovConfig(0.95, 0.2, 0.05, 0.1))


def fully_known_answers(config: AcceptanceConfig, num: int) -> list[TracedAnswer]:
    """Answers that are known at every position, as from teacher forcing."""
    model, answers = acceptance_model(config), []
    for request in range(num):
        trace, outcomes = model.new_trace(0, request, np.random.default_rng(request)), ""
        depths: list[int] = []
        for position in range(NUM_TOKENS):
            depths.append(depths[-1] + 1 if outcomes[-1:] == RIGHT else 0)
            outcomes += RIGHT if trace.is_right(position, depths[-1]) else WRONG
        confidences = tuple(trace.confidence(position, depth) for position, depth in enumerate(depths))
        answers.append(
            TracedAnswer("c", request, 0.0, 9, "LENGTH", outcomes, confidences, tuple(depths), (0.0,) * NUM_TOKENS)
        )
    return answers


def fitted(name: str, config: AcceptanceConfig, num: int = 200) -> AcceptanceConfig:
    return FAMILIES[name].fit(observed_answers(fully_known_answers(config, num)))


def test_rates_are_recovered() -> None:
    """24,000 tokens: 4 standard errors of a rate are 0.013, those of a rate with a quarter of the tokens 0.03."""
    fixed = fitted("fixed", AcceptanceConfig(fixed=FixedConfig(0.6)))
    assert fixed.fixed.rate == pytest.approx(0.6, abs=0.013)
    positional = AcceptanceConfig("positional", positional=PositionalConfig((0.5, 0.6, 0.7)))
    assert fitted("positional", positional).positional.rates[:3] == pytest.approx((0.5, 0.6, 0.7), abs=0.03)
    renewal = fitted("renewal, spread", RENEWAL).renewal
    assert renewal.rates[:4] == pytest.approx((0.3, 0.6, 0.8, 0.9), abs=0.04)
    assert renewal.spread == pytest.approx(0.6, abs=0.15)
    drifting = AcceptanceConfig("drifting", drifting=DriftingConfig((0.4, 0.8), 100, is_cyclic=False))
    result = fitted("drifting", drifting).drifting
    assert result.rates == pytest.approx((0.4,) * 4 + (0.8,) * 4, abs=0.04)
    assert result.num_answers == 25


def test_stationary_rate_is_the_long_run_share_of_right_tokens() -> None:
    for config in (RenewalConfig((0.3, 0.6, 0.8, 0.9)), RenewalConfig((0.5, 0.0)), RenewalConfig((0.5, 1.0))):
        trace = acceptance_model(AcceptanceConfig("renewal", renewal=config)).new_trace(0, 0, np.random.default_rng(1))
        share = np.mean([trace.is_right(position, 0) for position in range(40_000)])
        assert share == pytest.approx(config.stationary_rate, abs=0.02)


def test_spread_is_the_standard_deviation_of_log_odds() -> None:
    """With one run length, the log-odds of an answer's rate are normal."""
    model = acceptance_model(AcceptanceConfig("renewal", renewal=RenewalConfig((0.7,), spread=0.8)))
    traces = [model.new_trace(0, request, np.random.default_rng(request)) for request in range(400)]
    rates = np.array([np.mean([trace.is_right(position, 0) for position in range(800)]) for trace in traces])
    log_odds = np.log(rates / (1.0 - rates))
    assert abs(log_odds.mean() - np.log(7 / 3)) < 4 * 0.8 / np.sqrt(400)
    assert log_odds.std() == pytest.approx(0.8, rel=4 / np.sqrt(2 * 400))


def test_renewal_likelihood_sums_over_unknown_bits() -> None:
    config = AcceptanceConfig("renewal", renewal=RenewalConfig((0.3, 0.6)))
    likelihood = FAMILIES["renewal"].log_likelihood
    one = TracedAnswer("c", 0, 0.0, 9, "STOP", "1?0", (0.5,) * 3, (0,) * 3, (0.0,) * 3)
    by_hand = 0.3 * (0.6 * 0.4 + 0.4 * 0.7)
    assert likelihood(config, observed_answers([one])) == pytest.approx(np.log(by_hand))


@pytest.mark.parametrize("config", [FIXED, RENEWAL], ids=["fixed", "renewal"])
def test_concentration_is_recovered(config: AcceptanceConfig) -> None:
    """Probabilities that vary between positions also make confidences vary; that is not the drafter's noise."""
    assert fit_confidence(config, observed_answers(fully_known_answers(config, 200))).concentration == pytest.approx(
        2.0, rel=0.12
    )


def test_a_model_more_informed_than_the_drafter_gets_infinite_concentration() -> None:
    alike = observed_answers(fully_known_answers(replace(MARKOV, confidence=ConfidenceConfig(math.inf)), 100))
    dull = ObservedAnswers(alike.bits, alike.depths, np.full(alike.bits.shape, 0.6), alike.lengths)
    assert fit_confidence(MARKOV, dull).concentration == math.inf


def max_deviation(result: GoodnessOfFit, name: str) -> float:
    """The largest deviation of predicted from replayed tokens per round, in the replay's standard errors."""
    (fit,) = (fit for fit in result.fits if fit.name == name)
    pairs = zip(fit.tokens_per_round, result.replayed, strict=True)
    return max(abs(confidences.mean - true.mean) / true.standard_error for confidences, true in pairs)


@pytest.mark.parametrize("config", [MARKOV, ALIKE], ids=["markov", "renewal"])
def test_the_true_family_predicts_held_out_answers_and_a_fixed_rate_does_not(config: AcceptanceConfig) -> None:
    """Predictions of the true family are within 3 standard errors at every window.

    With all positions known, draft depths are run lengths, and the positional and renewal likelihoods are equal.
    """
    result = goodness_of_fit(fully_known_answers(config, 60))
    assert len(result.replayed) == len(WINDOWS)
    assert max_deviation(result, config.model) < 3.0
    assert max_deviation(result, "fixed") > 4.0
    fits = {fit.name: fit for fit in result.fits if fit.name not in {"positional", "renewal, spread"}}
    assert fits[config.model].run_lengths_p_value > 1e-4
    assert fits["fixed"].run_lengths_p_value < 1e-8
    assert min(fits, key=lambda name: fits[name].aic) == config.model
    assert max(fits, key=lambda name: fits[name].held_out_log_likelihood) == config.model


def test_spread_among_answers_is_detected() -> None:
    """The spread among answers' means has a relative standard error of about 1 / sqrt(2 x 60) = 9%."""
    result = goodness_of_fit(fully_known_answers(RENEWAL, 60))
    fits = {fit.name: fit for fit in result.fits}
    true = result.replayed[-1].spread
    alike, spread = (fits[name].tokens_per_round[-1].spread for name in ("renewal", "renewal, spread"))
    assert spread == pytest.approx(true, rel=0.36)
    assert alike < 0.64 * true
    assert fits["renewal, spread"].aic < fits["renewal"].aic


def test_a_live_acceptance_trace_is_compared_with_its_own_replay() -> None:
    model = acceptance_model(MARKOV)
    answers = [live_answer(model.new_trace(0, i, np.random.default_rng(i)), NUM_TOKENS, 3, i) for i in range(30)]
    result = goodness_of_fit(answers)
    assert result.num_unknown > 0
    assert max_deviation(result, "markov") < 3.0

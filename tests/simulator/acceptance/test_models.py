"""The contract of every registered acceptance model, and the properties of each.

Statistical tests have fixed seeds; a bound on a share is at least 4 standard errors wide (below 1e-4, two-sided).
"""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodspeed.config import from_mapping
from goodspeed.errors import ConfigError
from goodspeed.records.acceptance_trace import write_acceptance_trace
from goodspeed.simulator.acceptance.acceptance_model import AcceptanceModel, AcceptanceTrace
from goodspeed.simulator.acceptance.confidence import ConfidenceConfig
from goodspeed.simulator.acceptance.drifting import DriftingConfig
from goodspeed.simulator.acceptance.fixed import FixedConfig
from goodspeed.simulator.acceptance.markov import MarkovConfig
from goodspeed.simulator.acceptance.models import ACCEPTANCES, AcceptanceConfig, acceptance_model
from goodspeed.simulator.acceptance.positional import PositionalConfig
from goodspeed.simulator.acceptance.replayed_trace import ReplayedTraceConfig
from goodspeed.testing.live_answer import live_answers

places = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 12), st.booleans()), min_size=1, max_size=60)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An acceptance trace as a live drafter records it."""
    path = tmp_path_factory.mktemp("recorded") / "acceptance.jsonl"
    with path.open("w") as file:
        write_acceptance_trace(live_answers(AcceptanceConfig("markov"), 300, 4), file)
    return str(path)


@pytest.fixture(scope="module")
def models(log: str) -> dict[str, AcceptanceModel]:
    return {name: acceptance_model(AcceptanceConfig(name, trace=ReplayedTraceConfig(log))) for name in ACCEPTANCES}


def trace(config: AcceptanceConfig, seed: int = 0, request: int = 0) -> AcceptanceTrace:
    return acceptance_model(config).new_trace(0, request, np.random.default_rng(seed))


def bits(of: AcceptanceTrace, num: int, depth: int = 0) -> list[bool]:
    return [of.is_right(position, depth) for position in range(num)]


def read(of: AcceptanceTrace, position: int, depth: int, is_confidence: bool) -> float:
    return of.confidence(position, depth) if is_confidence else of.is_right(position, depth)


@pytest.mark.parametrize("name", ACCEPTANCES)
@given(reads=places, seed=st.integers(0, 2**32))
def test_a_position_does_not_depend_on_the_order_of_reads(
    name: str, models: dict[str, AcceptanceModel], reads: list[tuple[int, int, bool]], seed: int
) -> None:
    first, second = (models[name].new_trace(1, 2, np.random.default_rng(seed)) for _ in range(2))
    answers = {place: read(first, *place) for place in reads}
    assert all(read(second, *place) == answers[place] for place in sorted(reads))
    assert all(read(first, *place) == answers[place] for place in reversed(reads))


@pytest.mark.parametrize("name", ACCEPTANCES)
def test_traces_from_one_generator_are_independent(name: str, models: dict[str, AcceptanceModel]) -> None:
    rng = np.random.default_rng(5)
    first, second = models[name].new_trace(0, 0, rng), models[name].new_trace(0, 1, rng)
    together = [(first.is_right(position, 0), second.is_right(position, 0)) for position in range(200)]
    rng = np.random.default_rng(5)
    separate = [bits(models[name].new_trace(0, request, rng), 200) for request in (0, 1)]
    assert together == list(zip(*separate, strict=True))
    assert separate[0] != separate[1]


@pytest.mark.parametrize("name", ACCEPTANCES)
@pytest.mark.parametrize("depth", [0, 3])
def test_confidences_are_calibrated(name: str, models: dict[str, AcceptanceModel], depth: int) -> None:
    """In each tenth of confidence the share of right tokens is the mean confidence, within 4.5 standard errors."""
    reads = [
        (of.confidence(position, depth), of.is_right(position, depth))
        for of in (models[name].new_trace(0, request, np.random.default_rng(request)) for request in range(100))
        for position in range(150)
    ]
    confidences, is_right = np.array(reads).T
    assert confidences.min() >= 0.0
    assert confidences.max() <= 1.0
    for tenth in range(10):
        in_tenth = (confidences * 10).astype(int) == tenth
        spread = math.sqrt(np.sum(confidences[in_tenth] * (1 - confidences[in_tenth])))
        assert abs(np.sum(confidences[in_tenth] - is_right[in_tenth])) <= 4.5 * spread + 1.0


@pytest.mark.parametrize("concentration", [0.01, 3.0, math.inf])
def test_confidences_vary_more_with_a_smaller_concentration(concentration: float) -> None:
    """The variance of a Beta distributed confidence: rate (1 - rate) / (concentration + 1)."""
    of = trace(AcceptanceConfig(fixed=FixedConfig(0.6), confidence=ConfidenceConfig(concentration)))
    confidences = [of.confidence(position, 0) for position in range(20_000)]
    assert np.var(confidences) == pytest.approx(0.24 / (1 + concentration), rel=0.05, abs=1e-12)


def test_fixed_bits_are_independent_with_the_configured_rate() -> None:
    drawn = np.array(bits(trace(AcceptanceConfig(fixed=FixedConfig(0.7))), 40_000), dtype=float)
    assert abs(drawn.mean() - 0.7) < 4 * math.sqrt(0.21 / 40_000)
    assert abs(np.corrcoef(drawn[1:], drawn[:-1])[0, 1]) < 4 / math.sqrt(40_000)


@pytest.mark.parametrize("depth", [0, 2, 9])
def test_positional_rate_depends_on_depth_and_ends_with_the_last_one(depth: int) -> None:
    config = AcceptanceConfig(model="positional", positional=PositionalConfig((0.3, 0.5, 0.8)))
    rate = (0.3, 0.5, 0.8)[min(depth, 2)]
    drawn = bits(trace(config), 20_000, depth)
    assert abs(np.mean(drawn) - rate) < 4 * math.sqrt(rate * (1 - rate) / 20_000)


def test_markov_bits_have_the_stationary_rate_and_are_bursty() -> None:
    """Autocovariance at lag 1: Var(state's rate) (1 - to_hard - to_easy); here 0.0756 x 0.8."""
    markov = MarkovConfig(easy_rate=0.9, hard_rate=0.3, to_hard=0.06, to_easy=0.14)
    assert markov.stationary_rate == pytest.approx(0.72)
    config = AcceptanceConfig(model="markov", markov=markov)
    of = [bits(trace(config, seed), 400) for seed in range(200)]
    drawn = np.array(of, dtype=float)
    error = drawn.mean(axis=1).std() / math.sqrt(200)
    assert abs(drawn.mean() - 0.72) < 4 * error
    assert abs(drawn[:, 0].mean() - 0.72) < 4 * math.sqrt(0.72 * 0.28 / 200)
    covariances = np.mean((drawn[:, 1:] - 0.72) * (drawn[:, :-1] - 0.72), axis=1)
    assert abs(covariances.mean() - 0.0756 * 0.8) < 4 * covariances.std() / math.sqrt(200)


@pytest.mark.parametrize(
    ("config", "rates"),
    [
        (DriftingConfig((0.8, 0.4), 2), [0.8, 0.8, 0.4, 0.4, 0.8]),
        (DriftingConfig((0.8, 0.4), 2, "linear"), [0.8, 0.6, 0.4, 0.6, 0.8]),
        (DriftingConfig((0.8, 0.4), 2, is_cyclic=False), [0.8, 0.8, 0.4, 0.4, 0.4]),
        (DriftingConfig((0.8, 0.4), 2, "linear", is_cyclic=False), [0.8, 0.6, 0.4, 0.4, 0.4]),
    ],
)
def test_drifting_rate_changes_from_answer_to_answer(config: DriftingConfig, rates: list[float]) -> None:
    assert [config.rate(request) for request in range(5)] == pytest.approx(rates)
    drawn = bits(trace(AcceptanceConfig(model="drifting", drifting=config), request=2), 10_000)
    assert abs(np.mean(drawn) - rates[2]) < 4 * math.sqrt(rates[2] * (1 - rates[2]) / 10_000)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"model": "fixd"}, "did you mean 'fixed'"),
        ({"fixed": {"rate": -0.1}}, r"fixed\.rate"),
        ({"fixed": {"rate": math.nan}}, r"fixed\.rate"),
        ({"fixed": {"rte": 0.1}}, "did you mean 'rate'"),
        ({"positional": {"rates": []}}, r"positional\.rates"),
        ({"positional": {"rates": [0.5, 1.5]}}, r"positional\.rates"),
        ({"markov": {"easy_rate": 1.1}}, r"markov\.easy_rate"),
        ({"markov": {"to_hard": 0.0, "to_easy": 0.0}}, r"markov\.to_hard"),
        ({"drifting": {"rates": []}}, r"drifting\.rates"),
        ({"drifting": {"shape": "stepp"}}, "did you mean 'step'"),
        ({"drifting": {"num_answers": 0}}, r"drifting\.num_answers"),
        ({"confidence": {"concentration": 0.0}}, r"confidence\.concentration"),
    ],
)
def test_a_wrong_value_raises_an_error_that_names_it(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        from_mapping(AcceptanceConfig, wrong)

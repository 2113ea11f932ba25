"""The end of the warm-up."""

from dataclasses import replace

import numpy as np
import pytest

from goodspeed.errors import ConfigError
from goodspeed.experiment.warm_up import WarmUp, WarmUpSource, find_warm_up, given_warm_up, mser5
from goodspeed.simulator.result import AnswerRecord
from goodspeed.testing.single_server import ANSWER, SingleServerQueue, simulate


def _answers(latencies: list[float]) -> list[AnswerRecord]:
    return [replace(ANSWER, requested_s=float(i), finished_s=i + latency) for i, latency in enumerate(latencies)]


def _series(num: int, bias: float, memory: float, seed: int = 0) -> list[float]:
    """Noise of standard deviation 1 around 10, with an initial transient."""
    noise = np.random.default_rng(seed).standard_normal(num)
    return list(10.0 + noise + bias * np.exp(-np.arange(num) / memory))


def test_a_steady_series_loses_little() -> None:
    dropped = [mser5(_series(1000, bias=0.0, memory=1.0, seed=seed)) for seed in range(20)]
    assert np.mean(dropped) < 100


@pytest.mark.parametrize("bias", [-8.0, 8.0])
def test_an_initial_transient_is_dropped(bias: float) -> None:
    dropped = mser5(_series(1000, bias, memory=50.0))
    assert 75 <= dropped <= 250, "at 75 a fifth of the bias is left, at 250 none"


def test_the_criterion_equals_the_definition() -> None:
    series = _series(100, bias=3.0, memory=20.0)
    batches = np.array(series).reshape(20, 5).mean(axis=1)
    errors = [np.var(batches[d:]) / (20 - d) for d in range(16)]
    assert mser5(series) == 5 * int(np.argmin(errors))


def test_a_run_that_does_not_settle_is_cut_in_the_middle() -> None:
    found = find_warm_up(_answers([float(i) for i in range(200)]))
    assert found.source is WarmUpSource.NOT_SETTLED
    assert found.cut_s == 99 + 99.0


def test_a_short_pilot_drops_nothing() -> None:
    found = find_warm_up(_answers([1.0] * 99))
    assert (found.cut_s, found.source) == (0.0, WarmUpSource.TOO_FEW)


def test_a_given_warm_up_is_parsed_or_refused() -> None:
    assert given_warm_up("7.5") == WarmUp(7.5, WarmUpSource.GIVEN)
    assert given_warm_up("MSER-5") is None
    for text in ("soon", "-1", "nan"):
        with pytest.raises(ConfigError, match=f"warm-up is '{text}'"):
            given_warm_up(text)


def test_the_cut_is_the_end_of_the_last_dropped_answer() -> None:
    answers = simulate(SingleServerQueue(load=0.9), seed=3).answers
    found = find_warm_up(answers)
    dropped = sum(answer.finished_s <= found.cut_s for answer in answers)
    assert found.source is WarmUpSource.FOUND
    assert dropped == mser5([answer.finished_s - answer.requested_s for answer in answers])

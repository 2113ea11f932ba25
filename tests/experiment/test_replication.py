"""Replications: the requested seeds, or as many as a precision requires."""

from functools import partial

import pytest

from goodspeed.errors import ConfigError
from goodspeed.experiment.executor import SerialExecutor
from goodspeed.experiment.replication import PILOT_SEED, Measure, Replication, Seeds, replicate
from goodspeed.experiment.summary import Precision, summarise
from goodspeed.experiment.warm_up import find_warm_up
from goodspeed.testing.single_server import FROM_START, SingleServerQueue, clients, simulate

QUEUE = SingleServerQueue(load=0.5, until_s=1000.0)
MEASURE = Measure(simulate, clients)


def _replicate(seeds: Seeds, precision: Precision | None = None) -> list[Replication]:
    with SerialExecutor() as executor:
        make = partial(MEASURE.replication, QUEUE, FROM_START)
        return list(replicate(make, seeds, precision, executor))


def test_the_requested_seeds_are_run() -> None:
    assert [one.run.seed for one in _replicate(Seeds(first=7, num=3))] == [7, 8, 9]


def test_replications_continue_until_the_precision_is_reached() -> None:
    precision = Precision("latency_mean_s", 0.05)
    done = _replicate(Seeds(first=0, num=3, max_num=200), precision)
    assert [one.run.seed for one in done] == list(range(len(done)))
    assert 3 < len(done) < 200
    found = summarise([one.metrics for one in done]).metrics["latency_mean_s"]
    assert found.high - found.mean <= 0.05 * found.mean


def test_replications_stop_at_the_maximum_number() -> None:
    assert len(_replicate(Seeds(first=0, num=3, max_num=7), Precision("latency_mean_s", 0.0001))) == 7


def test_wrong_seeds_are_refused() -> None:
    with pytest.raises(ConfigError, match="first is -1"):
        Seeds(first=-1, num=3)
    with pytest.raises(ConfigError, match="num is 0"):
        Seeds(first=0, num=0)


def test_the_pilot_run_finds_the_warm_up_and_does_not_count() -> None:
    start = MEASURE.pilot(QUEUE).metrics.warm_up
    assert start == find_warm_up(simulate(QUEUE, PILOT_SEED).answers)
    assert MEASURE.replication(QUEUE, start, 3).metrics.warm_up == start

"""Replications: the seeds asked for, or as many as a precision needs."""

import pytest
from tests.simulator.experiment.single_server import Queue, clients, simulate

from goodspeed.errors import ConfigError
from goodspeed.simulator.experiment.executor import ThisProcess
from goodspeed.simulator.experiment.replication import Measure, Replication, Seeds, replicate
from goodspeed.simulator.experiment.summary import Precision, summarise

QUEUE = Queue(load=0.5, until_s=1000.0)


def _replicate(seeds: Seeds, precision: Precision | None = None) -> list[Replication]:
    with ThisProcess() as executor:
        return list(replicate(Measure(simulate, clients, None), QUEUE, seeds, precision, executor))


def test_the_seeds_asked_for_are_run() -> None:
    assert [one.run.seed for one in _replicate(Seeds(first=7, num=3))] == [7, 8, 9]


def test_replications_go_on_until_the_figure_is_precise() -> None:
    precision = Precision("latency_mean_s", 0.05)
    done = _replicate(Seeds(first=0, num=3, num_at_most=200), precision)
    assert [one.run.seed for one in done] == list(range(len(done)))
    assert 3 < len(done) < 200
    found = summarise([one.figures for one in done]).figures["latency_mean_s"]
    assert found.high - found.mean <= 0.05 * found.mean


def test_replications_stop_at_the_most() -> None:
    assert len(_replicate(Seeds(first=0, num=3, num_at_most=7), Precision("latency_mean_s", 0.0001))) == 7


def test_wrong_seeds_are_named() -> None:
    with pytest.raises(ConfigError, match="first is -1"):
        Seeds(first=-1, num=3)
    with pytest.raises(ConfigError, match="num is 0"):
        Seeds(first=0, num=0)

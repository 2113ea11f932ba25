"""Intervals over replications, and paired comparisons of arms."""

from dataclasses import replace

import numpy as np
import pytest

from goodspeed.errors import ConfigError
from goodspeed.experiment.metrics import RunMetrics, compute_metrics
from goodspeed.experiment.summary import Precision, compare, is_significant, summarise
from goodspeed.experiment.warm_up import WarmUp, WarmUpSource
from goodspeed.testing.single_server import SingleServerQueue, simulate

NUM_EXPERIMENTS = 120
START = WarmUp(100.0, WarmUpSource.GIVEN)


def _replications(queue: SingleServerQueue, seeds: range) -> list[RunMetrics]:
    return [compute_metrics(simulate(queue, seed), START) for seed in seeds]


def test_confidence_intervals_have_their_nominal_coverage() -> None:
    """M/M/1 at load 0.5, 120 experiments of 5 runs: 95% of intervals should contain 2 s; 3 standard errors are 6%."""
    queue = SingleServerQueue(load=0.5, until_s=400.0)
    covered = 0
    for experiment in range(NUM_EXPERIMENTS):
        found = summarise(_replications(queue, range(5 * experiment, 5 * experiment + 5))).metrics["latency_mean_s"]
        covered += found.low <= 2.0 <= found.high
    assert covered / NUM_EXPERIMENTS >= 0.89


def test_common_random_numbers_detect_differences_that_independent_seeds_do_not() -> None:
    """Services 2% slower: pairs with equal seeds detect it, pairs with different seeds do not."""
    usual, slower = SingleServerQueue(load=0.7), SingleServerQueue(load=0.7, service_factor=1.02)
    base, arm = _replications(usual, range(6)), _replications(slower, range(6))
    paired = compare(arm, base).differences["latency_mean_s"]
    moved = [replace(one, seed=(one.seed + 1) % 6) for one in arm]
    unpaired = compare(moved, base).differences["latency_mean_s"]
    assert is_significant(paired)
    assert paired.low > 0.0
    assert not is_significant(unpaired)
    assert paired.mean == pytest.approx(unpaired.mean)


def test_ratios_exist_only_for_positive_metrics() -> None:
    base, arm = (
        _replications(SingleServerQueue(load=0.5), range(3)),
        _replications(SingleServerQueue(load=0.5, service_factor=2.0 / 1.5), range(3)),
    )
    comparison = compare(arm, base)
    assert comparison.num_pairs == 3
    assert comparison.ratios["latency_mean_s"].mean > 1.5
    assert "drafting_share" in comparison.differences
    assert "drafting_share" not in comparison.ratios, "it is 0 in both"


def test_only_shared_seeds_are_paired() -> None:
    queue = SingleServerQueue(load=0.5, until_s=600.0)
    assert compare(_replications(queue, range(1, 5)), _replications(queue, range(3))).num_pairs == 2
    with pytest.raises(ConfigError, match="no seed in common"):
        compare(_replications(queue, range(2)), _replications(queue, range(2, 4)))


def test_a_metric_that_one_replication_lacks_has_no_interval() -> None:
    first, second = _replications(SingleServerQueue(load=0.5, until_s=600.0), range(2))
    summary = summarise([first, replace(second, values={"goodput": 1.0})])
    assert set(summary.metrics) == {"goodput"}


def test_precision_is_reached_when_the_interval_is_narrow() -> None:
    template = _replications(SingleServerQueue(load=0.5, until_s=600.0), range(1))[0]
    values = 100.0 + np.array([-1.0, 0.0, 1.0])
    replications = [replace(template, values={"goodput": float(value)}) for value in values]
    half = 4.303 / np.sqrt(3)
    assert Precision("goodput", half / 100 + 1e-3).is_reached(replications)
    assert not Precision("goodput", half / 100 - 1e-3).is_reached(replications)
    assert not Precision("goodput", 0.5).is_reached(replications[:1]), "one value has no interval"


def test_a_precision_is_parsed_or_refused() -> None:
    assert Precision.parse("goodput=2%") == Precision("goodput", 0.02)
    with pytest.raises(ConfigError, match="did you mean 'goodput'"):
        Precision.parse("godput=2%")
    with pytest.raises(ConfigError, match="METRIC=X%"):
        Precision.parse("goodput")
    with pytest.raises(ConfigError, match="more than 0%"):
        Precision.parse("goodput=0%")

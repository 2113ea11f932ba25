"""Objectives are parsed, and judged by all requests of a run."""

import pytest

from goodspeed.errors import ConfigError
from goodspeed.experiment.metrics import RunMetrics
from goodspeed.experiment.served_run import ServedAnswer, ServedRun
from goodspeed.experiment.slo import Objective, Slo
from goodspeed.experiment.warm_up import WarmUp, WarmUpSource


def answer(ttft_s: float = 0.1, tpot_s: float | None = 0.01, num_tokens: int = 10) -> ServedAnswer:
    return ServedAnswer("tier-0", num_tokens, ttft_s, tpot_s, 1.0)


def test_limits_quantiles_and_units_are_parsed() -> None:
    slo = Slo.parse("tpot=50ms, ttft_p95=1s", "95%")
    assert slo.objectives == (Objective("tpot", 0.05), Objective("ttft", 1.0, 0.95))
    assert slo.share == 0.95
    assert slo.name == "tpot=50ms,ttft_p95=1s for 95%"
    assert Slo.parse("latency_p99.9=2.5s").name == "latency_p99.9=2.5s"
    assert Slo.parse("tpot=50ms").share == 0.99


@pytest.mark.parametrize("text", ["tpot=50ms,ttft=1s", "ttft_p95=2s", "latency=10s,tpot_p99=50ms"])
def test_a_name_is_parsed_to_the_same_slo(text: str) -> None:
    slo = Slo.parse(text)
    assert Slo.parse(slo.name.partition(" for ")[0]) == slo


@pytest.mark.parametrize(
    ("slo", "share", "message"),
    [
        ("", "", "slo is empty"),
        ("tpot", "", "slo has 'tpot', expected NAME=LIMIT"),
        ("tpot=50", "", "with a limit in ms or s"),
        ("tpot=50min", "", "with a limit in ms or s"),
        ("tpot=1.2.3ms", "", "slo has 'tpot=1.2.3ms'"),
        ("tpot:50ms", "", "slo has 'tpot:50ms'"),
        ("tpot=50ms,,ttft=1s", "", "slo has ''"),
        ("tpott=50ms", "", "did you mean 'tpot'"),
        ("tpot=0ms", "", "limit of tpot is 0 s"),
        ("tpot_p0=5ms", "", "percentile of tpot is 0"),
        ("tpot_p100=5ms", "", "percentile of tpot is 100"),
        ("tpot=5ms,tpot=6ms", "", "each latency only once"),
        ("tpot=50ms", "110%", "share is '110%'"),
        ("tpot=50ms", "99", "share is '99'"),
        ("tpot=50ms", "most", "share is 'most'"),
        ("tpot_p95=50ms", "99%", "every objective of 'tpot_p95=50ms' has a percentile of its own"),
    ],
)
def test_wrong_objectives_are_named(slo: str, share: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        Slo.parse(slo, share)
    assert message in str(error.value)


def test_a_good_answer_keeps_all_limits() -> None:
    slo = Slo.parse("tpot=50ms,ttft=1s", "50%")
    answers = [answer(), answer(ttft_s=2.0), answer(tpot_s=0.06), answer(ttft_s=1.0, tpot_s=0.05)]
    found = slo.attainment(answers, 0)
    assert found.good_share == 0.5
    assert found.kept_shares == {"tpot=50ms": 0.75, "ttft=1s": 0.75}
    assert found.is_attained
    assert not Slo.parse("tpot=50ms,ttft=1s", "51%").attainment(answers, 0).is_attained


def test_a_failed_request_keeps_nothing() -> None:
    slo = Slo.parse("tpot=50ms,ttft_p60=1s", "60%")
    assert slo.attainment([answer()] * 3, 2).is_attained
    found = slo.attainment([answer()] * 3, 3)
    assert (found.good_share, found.failed_share, found.is_attained) == (0.5, 0.5, False)


def test_a_quantile_is_that_of_all_answers() -> None:
    answers = [answer()] * 95 + [answer(tpot_s=0.5)] * 5
    assert Slo.parse("tpot_p95=50ms").attainment(answers, 0).is_attained
    assert not Slo.parse("tpot_p96=50ms").attainment(answers, 0).is_attained


def test_without_a_share_a_good_answer_keeps_every_limit() -> None:
    slo = Slo.parse("tpot_p50=50ms,ttft_p50=1s")
    found = slo.attainment([answer(), answer(ttft_s=2.0), answer(tpot_s=0.5)], 0)
    assert found.good_share == pytest.approx(1 / 3)
    assert found.is_attained, "two thirds keep either"


def test_a_single_token_has_no_time_per_token_and_keeps_its_limit() -> None:
    assert Slo.parse("tpot=1ms").attainment([answer(tpot_s=None)], 0).is_attained


def test_a_run_without_requests_attains_nothing() -> None:
    assert not Slo.parse("tpot=50ms").attainment([], 0).is_attained


def test_unfinished_answers_count_once_they_break_an_objective() -> None:
    waiting, late = answer(0.5, None, num_tokens=0), answer(3.0, None, num_tokens=0)
    slow = answer(0.1, 0.2, num_tokens=0)
    metrics = RunMetrics(0, WarmUp(0.0, WarmUpSource.GIVEN), 1, {"num_failed": 0.0}, {})
    run = ServedRun(metrics, [answer()], [waiting, late, slow], 0.5)
    assert Slo.parse("tpot=50ms,ttft=1s").counted(run) == [answer(), late, slow]
    assert Slo.parse("ttft_p95=1s").counted(run) == [answer(), late]

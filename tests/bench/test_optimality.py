"""A run beside the best that its own acceptance would have allowed."""

import json
import math
from pathlib import Path

import pytest

from goodspeed.bench.answer import LoadAnswer, Speculation
from goodspeed.bench.logged_run import LoggedRun
from goodspeed.bench.optimality import optimum_report, with_optima
from goodspeed.bench.report import SCHEMA, Report, RequestRecord
from goodspeed.cluster.machine import this_machine
from goodspeed.scheduling.scheduler import ClientView

RUN = LoggedRun(2, {name: ClientView(0.5, 1.0, max_grant=4) for name in ("ann", "bob")})


def _request(client: str, repetition: int, rounds: int, committed: int) -> RequestRecord:
    reported = Speculation(rounds=rounds, committed=committed)
    return RequestRecord(
        "gradient", repetition, client, LoadAnswer("x", "stop", committed, 0.0, (1.0,), (1,), reported)
    )


REQUESTS = [
    _request("ann", 0, 11, 16),
    _request("bob", 0, 11, 16),
    _request("ann", 1, 6, 8),
    _request("ann", 1, 6, 14),
    _request("bob", 1, 11, 11),
]


def test_goodput_and_distance_are_per_round_and_repetition() -> None:
    """One token for each is best: 1.5 tokens a round; the opening round of an answer does not count."""
    report = optimum_report(RUN, REQUESTS)
    assert report is not None
    assert report.best == pytest.approx({"ann": 1.5, "bob": 1.5})
    assert report.utility == pytest.approx(2 * math.log(1.5))
    assert report.goodput_per_round["ann"].values == pytest.approx((1.5, 2.0))
    assert report.goodput_per_round["bob"].values == pytest.approx((1.5, 1.0))
    assert report.distance.values == pytest.approx((0.0, math.hypot(0.5, 0.5)), abs=1e-9)
    assert report.utility_gap.values == pytest.approx((0.0, 2 * math.log(1.5) - math.log(2.0)), abs=1e-9)
    assert report.certified_gap < 1e-9


def test_no_distance_without_proposals_or_reported_rounds() -> None:
    assert optimum_report(LoggedRun(2, {"ann": RUN.clients["ann"]}), REQUESTS) is None
    unreported = RequestRecord("gradient", 0, "ann", LoadAnswer("x", "stop", 3, 0.0, (1.0,), (1,)))
    assert optimum_report(RUN, [unreported, *REQUESTS[1:]]) is None


def test_no_distance_where_the_verifier_drafted_by_itself() -> None:
    speculation = Speculation(rounds=11, committed=16, co_located=3)
    drafted = RequestRecord("gradient", 0, "ann", LoadAnswer("x", "stop", 16, 0.0, (1.0,), (1,), speculation))
    assert optimum_report(RUN, [drafted, *REQUESTS[1:]]) is None


def test_arms_without_a_log_stay_as_they_are(tmp_path: Path) -> None:
    log = tmp_path / "other.jsonl"
    log.write_text(json.dumps({"event": "start", "config": {}}) + "\n", encoding="utf-8")
    report = Report(SCHEMA, "", [], this_machine(), {}, [], REQUESTS)
    assert with_optima(report, {"other": log}) == report

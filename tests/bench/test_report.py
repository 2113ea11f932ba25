"""The metrics of a comparison."""

import json
import math
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from msgspec import structs
from rich.console import Console

from goodspeed.bench.answer import LoadAnswer, Speculation
from goodspeed.bench.comparison import BASELINE, ArmRun
from goodspeed.bench.comparison_table import comparison_table
from goodspeed.bench.report import SCHEMA, OptimumReport, Report, arm_reports, request_records, write_json
from goodspeed.bench.wire_traffic import DrafterTraffic
from goodspeed.cluster.cpu_time import CpuSeconds
from goodspeed.cluster.machine import this_machine
from goodspeed.stats.summary import spread

CLIENTS = ("ann", "bob")


def _answer(text: str, num_tokens: int, end_s: float) -> LoadAnswer:
    rounds = Speculation(
        rounds=10, remote_rounds=6, co_located_rounds=2, target_only_rounds=1, proposed=20, accepted=5,
        co_located=8, co_located_accepted=2, committed=15, queue_s=0.1, verify_s=0.2, drafting_s=0.3,
        baseline_s=end_s, elapsed_s=0.4 * end_s, speed_up=2.5,
    )  # fmt: skip
    return LoadAnswer(
        text, "stop", num_tokens, due_s=0.5, chunk_s=(1.0, end_s), chunk_characters=(1, 3), speculation=rounds
    )


def _run(arm: str, repetition: int, ends_s: tuple[float, float], text: str = "same") -> ArmRun:
    answers = tuple((_answer(text, 20, end_s),) for end_s in ends_s)
    return ArmRun(
        arm,
        repetition,
        answers,
        traffic=(DrafterTraffic(100.0, 20.0), DrafterTraffic(300.0, 30.0)),
        cpu=CpuSeconds(verifier=4.0, drafters=1.0, load=0.4),
    )


RUNS = [
    _run(BASELINE, 0, (4.0, 8.0)),
    _run("gradient", 0, (2.0, 4.0)),
    _run("gradient", 1, (2.0, 2.0)),
    _run(BASELINE, 1, (4.0, 8.0)),
]


def test_goodput_counts_each_clients_tokens_until_its_last_answer() -> None:
    baseline = arm_reports(RUNS, CLIENTS, is_exact=True)[0]
    assert baseline.clients["ann"].goodput.values == pytest.approx((20 / 4, 20 / 4))
    assert baseline.clients["bob"].goodput.values == pytest.approx((20 / 8, 20 / 8))
    assert baseline.total.goodput.values == pytest.approx((7.5, 7.5))
    assert baseline.jain_index.median == pytest.approx(7.5**2 / (2 * (5.0**2 + 2.5**2)))
    assert baseline.sum_log_goodput.median == pytest.approx(math.log(5.0) + math.log(2.5))


def test_speed_up_compares_within_a_repetition() -> None:
    baseline, gradient = arm_reports(RUNS, CLIENTS, is_exact=True)
    assert baseline.speed_up is None
    assert gradient.speed_up is not None
    assert gradient.speed_up.values == pytest.approx((15 / 7.5, 20 / 7.5))
    assert gradient.speed_up.median == pytest.approx((2.0 + 8 / 3) / 2)


def test_rates_pool_all_answers() -> None:
    gradient = arm_reports(RUNS, CLIENTS, is_exact=True)[1]
    assert gradient.total.acceptance_rate == pytest.approx(0.25)
    assert gradient.total.co_located_acceptance_rate == pytest.approx(0.25)
    assert gradient.total.mean_acceptance_length == pytest.approx(1.5)
    modes = gradient.total.rounds_by_mode
    assert (modes.remote, modes.co_located, modes.target_only) == pytest.approx((6 / 9, 2 / 9, 1 / 9))
    assert gradient.total.bytes_per_token == pytest.approx(800 / 100)
    assert gradient.clients["bob"].bytes_per_token == pytest.approx(600 / 60)
    assert gradient.total.num_answers == 4
    assert gradient.total.estimated_speed_up == pytest.approx(2.5)


def test_estimated_times_are_pooled_over_answers() -> None:
    (quick,), (slow,) = RUNS[1].answers
    assert quick.speculation
    speculation = structs.replace(quick.speculation, baseline_s=3.0, elapsed_s=1.0)
    run = replace(RUNS[1], answers=((replace(quick, speculation=speculation),), (slow,)))
    (report,) = arm_reports([run], CLIENTS, is_exact=True)
    assert report.clients["ann"].estimated_speed_up == pytest.approx(3.0)
    assert report.clients["bob"].estimated_speed_up == pytest.approx(2.5)
    assert report.total.estimated_speed_up == pytest.approx((3.0 + 4.0) / (1.0 + 1.6))


def test_times_are_counted_from_the_asking() -> None:
    gradient = arm_reports(RUNS, CLIENTS, is_exact=True)[1]
    assert gradient.total.ttft_s.p50 == pytest.approx(0.5)
    assert gradient.clients["ann"].time_per_token_s.p50 == pytest.approx(1.0 / 19)
    shares = gradient.clients["ann"].time_shares
    assert (shares.drafting, shares.queue, shares.verify) == pytest.approx((0.2, 0.1 / 1.5, 0.2 / 1.5))
    assert shares.other == pytest.approx(1 - 0.6 / 1.5)


def test_cpu_time_is_per_committed_token() -> None:
    gradient = arm_reports(RUNS, CLIENTS, is_exact=True)[1]
    assert gradient.cpu_s_per_token == CpuSeconds(verifier=0.08, drafters=0.02, load=0.008)
    assert gradient.load_cpu_share == pytest.approx(0.8 / 6.0)


def test_every_differing_text_is_counted() -> None:
    runs = [*RUNS[:2], _run("gradient", 1, (2.0, 2.0), text="other"), RUNS[3]]
    assert arm_reports(runs, CLIENTS, is_exact=True)[1].num_differing_texts == 2
    assert arm_reports(RUNS, CLIENTS, is_exact=True)[1].num_differing_texts == 0


def test_texts_of_the_rejection_rule_are_not_compared() -> None:
    assert arm_reports(RUNS, CLIENTS, is_exact=False)[1].num_differing_texts is None


def test_other_endpoints_have_metrics_without_rounds() -> None:
    unreported = replace(_answer("x", 1, 3.0), speculation=None)
    (report,) = arm_reports(
        [
            ArmRun(
                "as served",
                0,
                ((unreported,),),
                (DrafterTraffic(math.nan, math.nan),),
                CpuSeconds(math.nan, math.nan, 0.0),
            )
        ],
        ["it"],
        is_exact=True,
    )
    assert math.isnan(report.total.acceptance_rate)
    assert math.isnan(report.total.estimated_speed_up)
    assert math.isnan(report.total.bytes_per_token)
    assert report.speed_up is None
    assert report.num_differing_texts is None
    assert math.isnan(report.total.time_per_token_s.p50)


def _report() -> Report:
    arms = arm_reports(RUNS, CLIENTS, is_exact=True)
    return Report(SCHEMA, "2025-01-01T00:00:00", ["bench"], this_machine(), {}, arms, request_records(RUNS, CLIENTS))


def test_json_keeps_its_schema(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "report.json"
    write_json(_report(), path)
    fields = json.loads(path.read_text(encoding="utf-8"))
    assert set(fields) == {"schema", "started", "command", "machine", "setup", "arms", "requests"}
    assert set(fields["machine"]) == {
        "cpu", "num_cores", "memory_gib", "system", "python", "versions", "git_commit",
    }  # fmt: skip
    arm = fields["arms"][1]
    assert set(arm) == {
        "name", "total", "clients", "jain_index", "sum_log_goodput", "speed_up", "num_differing_texts",
        "cpu_s_per_token", "load_cpu_share", "optimum",
    }  # fmt: skip
    assert list(arm["clients"]) == list(CLIENTS)
    assert set(arm["total"]["rounds_by_mode"]) == {"remote", "co_located", "target_only"}
    assert set(arm["total"]) == set(arm["clients"]["ann"]) == {
        "goodput", "acceptance_rate", "co_located_acceptance_rate", "mean_acceptance_length", "rounds_by_mode",
        "estimated_speed_up",
        "bytes_per_token", "ttft_s", "time_per_token_s", "time_shares", "num_answers", "num_tokens",
    }  # fmt: skip
    assert set(arm["speed_up"]) == {"median", "min", "max", "values"}
    assert set(fields["requests"][0]) == {"arm", "repetition", "client", "answer"}
    assert fields["schema"] == SCHEMA


def test_table_has_a_column_for_each_arm_and_shows_whether_texts_differ() -> None:
    out = StringIO()
    Console(file=out, width=120).print(comparison_table(_report().arms))
    text = out.getvalue()
    for word in (
        "target-only baseline",
        "per round",
        "ann",
        "bob",
        "Jain's index",
        "bytes per token",
        "0 of 4",
        "67/22/11",
        "2.33x",
        "2.50x",
    ):
        assert word in text


def test_table_shows_the_distance_from_the_optimum_if_known() -> None:
    baseline, gradient = _report().arms
    rounds = {"ann": spread([2.25]), "bob": spread([1.5])}
    optimum = OptimumReport(1.5, 0.0, {"ann": 2.5, "bob": 1.75}, rounds, spread([0.125]), spread([0.35]))
    out = StringIO()
    Console(file=out, width=120).print(comparison_table([baseline, replace(gradient, optimum=optimum)]))
    rows = {line.split("│")[1].strip(): line for line in out.getvalue().splitlines() if line.startswith("│")}
    assert "2.25; 2.50" in rows["ann; optimum [4]"]
    assert "0.125" in rows["utility below the optimum [4]"]
    assert "0.35" in rows["distance from the optimum [4]"]


def test_machine_info_is_complete() -> None:
    machine = this_machine()
    assert machine.num_cores >= 1
    assert machine.cpu
    assert machine.versions["numpy"]

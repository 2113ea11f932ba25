"""The metrics of a replication: by hand for three answers, and against theory for a queue."""

from dataclasses import replace

import pytest

from goodspeed.experiment.metrics import METRICS, compute_metrics
from goodspeed.experiment.warm_up import WarmUp, WarmUpSource
from goodspeed.simulator.result import AnswerRecord, RunResult, VerifierRecord
from goodspeed.testing.single_server import ANSWER, FROM_START, SingleServerQueue, simulate


def _run(*answers: AnswerRecord, simulated_s: float = 10.0) -> RunResult:
    verifiers = (VerifierRecord("v1", 4, 40, 5.0, 100), VerifierRecord("v2", 6, 20, 1.0, 50))
    return RunResult(3, simulated_s, answers, verifiers, 2, 1, num_rounds=10, num_bytes_up=300, num_bytes_down=100)


QUICK = replace(
    ANSWER, client="a", requested_s=1.0, first_token_s=1.5, finished_s=2.5, num_answer_tokens=11, num_rounds=4
)
SLOW = replace(
    ANSWER,
    client="b",
    requested_s=2.0,
    first_token_s=4.0,
    finished_s=8.0,
    num_answer_tokens=21,
    num_rounds=12,
    num_proposed=36,
    num_accepted=9,
    drafting_s=1.5,
    network_s=1.5,
    queue_s=0.6,
    verify_s=1.2,
)


def test_goodput_counts_answers_that_finish_after_the_warm_up() -> None:
    found = compute_metrics(_run(QUICK, SLOW), WarmUp(5.0, WarmUpSource.GIVEN))
    assert found.num_answers == 1
    assert found.goodputs == {"a": 0.0, "b": pytest.approx(21 / 5)}
    assert found.values["goodput"] == pytest.approx(21 / 5)
    assert found.values["geometric_mean"] == 0.0
    assert found.values["jain_index"] == pytest.approx(0.5)


def test_a_named_client_without_an_answer_has_zero_goodput() -> None:
    assert compute_metrics(_run(QUICK), FROM_START, clients=("a", "c")).goodputs == {"a": pytest.approx(1.1), "c": 0.0}


def test_latencies_are_computed_from_answers() -> None:
    values = compute_metrics(_run(QUICK, SLOW), FROM_START).values
    assert values["ttft_mean_s"] == pytest.approx((0.5 + 2.0) / 2)
    assert values["tpot_mean_s"] == pytest.approx((1.0 / 10 + 4.0 / 20) / 2)
    assert values["latency_p50_s"] == pytest.approx((1.5 + 6.0) / 2)
    assert values["latency_p99_s"] == pytest.approx(1.5 + 0.99 * 4.5)


def test_a_single_token_has_no_time_per_output_token() -> None:
    values = compute_metrics(_run(replace(QUICK, num_answer_tokens=1)), FROM_START).values
    assert "tpot_p50_s" not in values
    assert "ttft_p50_s" in values


def test_shares_of_answer_time_sum_to_one() -> None:
    values = compute_metrics(_run(SLOW), FROM_START).values
    assert values["drafting_share"] == pytest.approx(0.25)
    assert values["queue_share"] == pytest.approx(0.1)
    assert values["other_share"] == pytest.approx(0.2)
    assert sum(value for name, value in values.items() if name.endswith("_share") and "target_only" not in name) == (
        pytest.approx(1.0)
    )


def test_tokens_per_round_exclude_target_only_answers() -> None:
    alone = replace(QUICK, is_target_only=True, num_proposed=0, num_accepted=0)
    values = compute_metrics(_run(alone, SLOW), FROM_START).values
    assert values["mean_acceptance_length"] == pytest.approx(21 / 12)
    assert values["acceptance_rate"] == pytest.approx(9 / 36)


def test_rounds_by_mode_are_shares_of_all_rounds_but_the_prompts() -> None:
    modes = replace(SLOW, num_remote_rounds=6, num_co_located_rounds=3, num_target_only_rounds=2)
    values = compute_metrics(_run(replace(modes, num_co_located=8, num_co_located_accepted=2)), FROM_START).values
    assert values["remote_rounds"] == pytest.approx(6 / 11)
    assert values["co_located_rounds"] == pytest.approx(3 / 11)
    assert values["target_only_rounds"] == pytest.approx(2 / 11)
    assert values["co_located_acceptance_rate"] == pytest.approx(0.25)


def test_verifier_metrics_and_bytes_cover_the_whole_run() -> None:
    values = compute_metrics(_run(QUICK), WarmUp(5.0, WarmUpSource.GIVEN)).values
    assert values["utilisation"] == pytest.approx(0.3)
    assert values["tokens_per_step"] == pytest.approx(6.0)
    assert values["bytes_per_round"] == pytest.approx(40.0)
    assert (values["num_failed"], values["num_unfinished"]) == (1.0, 2.0)


def test_a_run_without_answers_has_no_latencies() -> None:
    found = compute_metrics(_run(), FROM_START)
    assert found.num_answers == 0
    assert "goodput" not in found.values
    assert "ttft_p50_s" not in found.values


def test_latencies_of_an_mm1_queue_follow_theory() -> None:
    """M/M/1 at load 0.5: a mean sojourn of 1 / (1 - 0.5) = 2 s, its p90 ln(10) times that."""
    values = compute_metrics(
        simulate(SingleServerQueue(load=0.5, until_s=60_000.0), seed=1), WarmUp(1000.0, WarmUpSource.GIVEN)
    ).values
    assert values["latency_mean_s"] == pytest.approx(2.0, rel=0.06)
    assert values["latency_p90_s"] == pytest.approx(4.605, rel=0.06)
    assert values["utilisation"] == pytest.approx(0.5, rel=0.03)


def test_every_metric_has_its_own_title() -> None:
    assert len({metric.title for metric in METRICS.values()}) == len(METRICS)

"""Capacities of small scenarios: searched, stored, compared and reported."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from goodspeed.errors import ConfigError
from goodspeed.experiment.arm import measure
from goodspeed.experiment.capacity import CapacityOutcome, CapacityPlan, Probe, Probes, find_capacities
from goodspeed.experiment.capacity_report import capacity_rows, curve_rows, remarks
from goodspeed.experiment.capacity_search import SearchResult
from goodspeed.experiment.capacity_summary import FAILED, MEMORY, NOTHING, ArmCapacity, summarise_capacity
from goodspeed.experiment.cell_folder import CellFolder
from goodspeed.experiment.executor import SerialExecutor
from goodspeed.experiment.grid import GridCell
from goodspeed.experiment.metrics import RunMetrics
from goodspeed.experiment.served_run import ServedAnswer, ServedRun
from goodspeed.experiment.slo import Slo
from goodspeed.experiment.warm_up import WarmUp, WarmUpSource
from goodspeed.simulator.scenario import scenario_of

WARM_UP = WarmUp(1.0, WarmUpSource.GIVEN)
STEP_S, TOKEN_S = 0.01, 0.002
SLOW, FAST = (GridCell((("verifiers.0.latency.linear.token_s", token_s),)) for token_s in (2 * TOKEN_S, TOKEN_S))


def tier(name: str, count: int = 1, rtt_ms: float = 0.0) -> dict[str, Any]:
    return {
        "name": name,
        "count": count,
        "link": {"rtt_ms": rtt_ms},
        "workload": {
            "closed": {"think_s": 0.05},
            "prompt": {"distribution": "fixed", "fixed": {"num_tokens": 1}},
            "answer": {"distribution": "fixed", "fixed": {"num_tokens": 10}},
        },
    }


def values(**verifier: Any) -> dict[str, Any]:
    latency = {"linear": {"base_s": STEP_S, "token_s": TOKEN_S}}
    return {
        "duration_s": 4.0,
        "mode": "target_only",
        "verifiers": [{"latency": latency, **verifier}],
        "drafters": [tier("near", 2), tier("far", 1, rtt_ms=30.0)],
    }


def plan_of(slo: str, arms: Mapping[GridCell, Mapping[str, Any]], **changes: Any) -> CapacityPlan:
    plan = CapacityPlan({arm: scenario_of(found) for arm, found in arms.items()}, range(2), Slo.parse(slo), 60, 0.1)
    return replace(plan, **changes)


def searched(plan: CapacityPlan, folder: Path) -> tuple[CapacityOutcome, int]:
    """The outcome, and the number of simulations that were made or read."""
    done: list[None] = []
    stored = CellFolder(folder, ServedRun, "capacity search")
    (folder / "cells").mkdir(exist_ok=True, parents=True)
    probes = Probes(plan.arms, measure(), stored, WARM_UP, SerialExecutor(), lambda: done.append(None))
    return find_capacities(plan, probes), len(done)


def summarised(plan: CapacityPlan, folder: Path) -> list[ArmCapacity]:
    outcome, _ = searched(plan, folder)
    return summarise_capacity(outcome, {arm: arm.name for arm in plan.arms})


def two_arms(slo: str = "tpot=60ms", **changes: Any) -> CapacityPlan:
    return plan_of(slo, {arm: arm.applied_to(values()) for arm in (SLOW, FAST)}, **changes)


def test_the_capacity_is_that_of_the_step_time(tmp_path: Path) -> None:
    """Users think little, so nearly all clients are in every step: 60 ms = 10 ms + clients * 2 or 4 ms."""
    slow, fast = summarised(two_arms(), tmp_path)
    assert 9 <= slow.clients.mean <= 13
    assert 18 <= fast.clients.mean <= 26
    assert slow.binding.constraint == fast.binding.constraint == "time per output token"
    assert fast.beside_first is not None
    assert fast.beside_first.clients is not None
    assert fast.beside_first.clients.mean == pytest.approx(2.0, rel=0.15)
    assert fast.beside_first.poorest > 1.4, "with as many clients, each step is shorter"
    assert slow.beside_first is not None
    assert slow.beside_first.geometric_mean == slow.beside_first.poorest == pytest.approx(1.0)
    assert slow.at_capacity is not None
    assert slow.at_capacity.good_share >= 0.99
    assert 0.9 < slow.at_capacity.jain_index <= 1.0


def test_what_is_stored_is_not_simulated_again(tmp_path: Path) -> None:
    first, num_first = searched(two_arms(), tmp_path)
    files = set((tmp_path / "cells").iterdir())
    again, num_again = searched(two_arms(), tmp_path)
    assert set((tmp_path / "cells").iterdir()) == files
    assert (again, num_again) == (first, num_first)
    relaxed, _ = searched(two_arms("tpot=80ms"), tmp_path)
    assert files < set((tmp_path / "cells").iterdir()), "another SLO needs further simulations"
    assert relaxed.runs.keys() & first.runs.keys(), "and uses finished ones"
    for seed, result in relaxed.results[SLOW].items():
        assert result.num_clients > first.results[SLOW][seed].num_clients


def test_all_arms_and_seeds_are_searched_with_their_own_clients(tmp_path: Path) -> None:
    outcome, _ = searched(two_arms(), tmp_path)
    for arm in (SLOW, FAST):
        assert list(outcome.results[arm]) == [0, 1]
        for seed, result in outcome.results[arm].items():
            assert outcome.attainment(Probe(arm, result.num_clients, seed)).is_attained
            assert result.first_failing is not None
            assert not outcome.attainment(Probe(arm, result.first_failing, seed)).is_attained
            served = outcome.results[SLOW][seed].num_clients
            assert len(outcome.runs[Probe(arm, served, seed)].goodputs()) == served


def test_a_limit_that_one_tier_breaks_at_any_load_is_its_own(tmp_path: Path) -> None:
    (arm,) = summarised(plan_of("ttft=35ms", {GridCell(()): values()}), tmp_path)
    assert arm.clients.mean == 0.0
    assert arm.at_capacity is None
    assert arm.beside_first is None
    assert arm.binding.constraint == "time to first token"
    assert arm.binding.poorest_tier == "far", "30 ms of round trip and 2 steps"
    assert arm.binding.is_poorest_alone
    assert "load is not the cause" in remarks([arm])[0]
    assert capacity_rows([arm])[0][1] == "0 ± 0"


def test_memory_is_named_where_it_makes_first_tokens_late(tmp_path: Path) -> None:
    small = values(kv_capacity=64, kv_block=1)
    (arm,) = summarised(plan_of("ttft=150ms", {GridCell(()): small}), tmp_path)
    assert arm.binding.constraint == MEMORY


def test_failed_requests_are_named() -> None:
    plan = plan_of("latency=2s", {GridCell(()): values()}, seeds=[0])
    answers = [ServedAnswer("a-0", 9, 0.1, 0.1, 1.0)] * 9
    run = ServedRun(RunMetrics(0, WARM_UP, 9, {"num_failed": 3.0, "goodput": 1.0}, {}), answers, [], 1.0)
    results = {GridCell(()): {0: SearchResult(0, 2, None)}}
    outcome = CapacityOutcome(plan, results, {Probe(GridCell(()), 2, 0): run})
    (arm,) = summarise_capacity(outcome, {GridCell(()): "only"})
    assert arm.binding.constraint == FAILED
    assert not arm.binding.is_poorest_alone


def test_a_capacity_beyond_the_highest_number_is_a_lower_bound(tmp_path: Path) -> None:
    (arm,) = summarised(plan_of("tpot=1s", {GridCell(()): values()}, max_clients=6), tmp_path)
    assert arm.is_at_max
    assert arm.binding.constraint == NOTHING
    assert capacity_rows([arm])[0][1] == "at least 6 ± 0"
    assert "--max-clients" in remarks([arm])[0]


def test_the_curve_has_all_simulations(tmp_path: Path) -> None:
    outcome, _ = searched(two_arms(), tmp_path)
    arms = summarise_capacity(outcome, {SLOW: "slow", FAST: "fast"})
    assert sum(point.num_seeds for arm in arms for point in arm.curve) == len(outcome.runs)
    for arm in arms:
        assert [point.num_clients for point in arm.curve] == sorted({point.num_clients for point in arm.curve})
        assert arm.curve[0].good_share > arm.curve[-1].good_share
    assert curve_rows(arms)[0][0] == "slow"


def test_a_criterion_that_is_not_monotone_is_said(tmp_path: Path) -> None:
    (arm,) = summarised(plan_of("tpot=60ms", {FAST: values()}), tmp_path)
    odd = replace(arm, by_seed={0: SearchResult(20, 22, 24)})
    assert remarks([odd])[0].startswith(f"{arm.name}, seed 0: not monotone: 22 clients fail and 24 are served")


def test_more_tiers_than_clients_are_refused() -> None:
    with pytest.raises(ConfigError, match="there are 2 drafter tiers and 1 clients"):
        two_arms(max_clients=1)


def test_unfinished_requests_are_recorded_with_what_they_have_waited(tmp_path: Path) -> None:
    outcome, _ = searched(plan_of("tpot=60ms", {FAST: values()}), tmp_path)
    for run in outcome.runs.values():
        assert len(run.unfinished) == round(run.metrics.values["num_unfinished"])
        for one in run.unfinished:
            assert 0.0 <= one.ttft_s <= one.latency_s
            assert one.tpot_s is None or 0.0 <= one.tpot_s <= one.latency_s
    assert any(run.unfinished for run in outcome.runs.values())


def test_goodput_is_that_of_the_answers_time() -> None:
    answers = [ServedAnswer("a-0", 10, 0.1, 0.1, 1.0), ServedAnswer("a-0", 20, 0.1, 0.1, 2.0)]
    run = ServedRun(RunMetrics(0, WARM_UP, 3, {}, {}), [*answers, ServedAnswer("b-1", 5, 0.1, None, 1.0)], [], 0.1)
    assert run.goodputs() == {"a-0": 10.0, "b-1": 5.0}
    assert answers[0].tier == "a"

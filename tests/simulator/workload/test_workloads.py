"""The contract of every registered workload, and the moments of their requests.

Statistical tests have fixed seeds; a bound on a mean is at least 4 standard errors wide (below 1e-4, two-sided).
"""

import itertools
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from goodspeed.config import from_mapping
from goodspeed.errors import ConfigError
from goodspeed.records.acceptance_trace import TracedAnswer, write_acceptance_trace
from goodspeed.simulator.workload.arrival_trace import ArrivalTraceConfig, read_arrivals
from goodspeed.simulator.workload.closed import THINK_DISTRIBUTIONS, ClosedConfig
from goodspeed.simulator.workload.gamma import GammaConfig
from goodspeed.simulator.workload.on_off import OnOffConfig
from goodspeed.simulator.workload.poisson import PoissonConfig
from goodspeed.simulator.workload.replayed_requests import ReplayedRequestsConfig
from goodspeed.simulator.workload.workload import Workload, WorkloadRequest
from goodspeed.simulator.workload.workloads import WORKLOADS, WorkloadConfig, workload

NUM_CLIENTS = 3


@pytest.fixture
def trace_file(tmp_path: Path) -> Path:
    path = tmp_path / "trace.jsonl"
    rows = [{"timestamp": 500 * i, "input_length": 10 + i, "output_length": i} for i in range(300)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def traced_answer(client: str, request: int, num_answer: int) -> TracedAnswer:
    nothing = (0.0,) * num_answer
    return TracedAnswer(
        client, request, 0.0, 10 + request, "LENGTH", "1" * num_answer, nothing, (0,) * num_answer, nothing
    )


def write_trace(path: Path, answers: Iterable[TracedAnswer]) -> str:
    with path.open("w", encoding="utf-8") as file:
        write_acceptance_trace(answers, file)
    return str(path)


def make_workload(name: str, trace_file: Path) -> Workload:
    answers = [traced_answer(f"client{i % 2}", i // 2, 1 + i) for i in range(100)]
    log = write_trace(trace_file.with_name("acceptance.jsonl"), answers)
    trace, recorded = ArrivalTraceConfig(str(trace_file), "mooncake"), ReplayedRequestsConfig(log)
    return workload(WorkloadConfig(name, trace=trace, acceptance_trace=recorded), NUM_CLIENTS)


def interarrivals_s(config: WorkloadConfig, num: int, seed: int = 1) -> NDArray[np.float64]:
    requests = workload(config, 1).requests(0, np.random.default_rng(seed))
    return np.array([request.interarrival_s for request in itertools.islice(requests, num)])


def first_requests(name: str, trace_file: Path, client: int = 0) -> list[WorkloadRequest]:
    return list(itertools.islice(make_workload(name, trace_file).requests(client, np.random.default_rng(7)), 50))


@pytest.mark.parametrize("name", WORKLOADS)
def test_requests_depend_only_on_the_generator(name: str, trace_file: Path) -> None:
    assert first_requests(name, trace_file) == first_requests(name, trace_file)
    users = [
        make_workload(name, trace_file).requests(client, np.random.default_rng(client)) for client in range(NUM_CLIENTS)
    ]
    interleaved = list(itertools.islice(zip(*users, strict=False), 40))
    for client in range(NUM_CLIENTS):
        separate = itertools.islice(make_workload(name, trace_file).requests(client, np.random.default_rng(client)), 40)
        assert [turn[client] for turn in interleaved] == list(separate)


@pytest.mark.parametrize("name", WORKLOADS)
def test_requests_are_valid(name: str, trace_file: Path) -> None:
    requests = first_requests(name, trace_file)
    assert len(requests) == 50
    assert all(
        request.interarrival_s >= 0.0 and request.num_prompt_tokens >= 1 and request.num_answer_tokens >= 1
        for request in requests
    )
    assert {request.is_closed_loop for request in requests} == {name in {"closed", "conversation", "acceptance_trace"}}


def test_recorded_clients_repeat_their_requests_and_start_together_after_the_warm_up(tmp_path: Path) -> None:
    log = write_trace(
        tmp_path / "log.jsonl", [traced_answer("b", 0, 7), traced_answer("a", 0, 5), traced_answer("a", 1, 6)]
    )
    config = WorkloadConfig(
        "acceptance_trace", acceptance_trace=ReplayedRequestsConfig(log, num_warm_up=1, start_s=30.0)
    )
    all_clients = workload(config, 2)
    rng = np.random.default_rng(0)
    assert list(all_clients.requests(0, rng)) == [
        WorkloadRequest(0.0, False, 10, 5),
        WorkloadRequest(30.0, False, 11, 6),
    ]
    assert list(all_clients.requests(1, rng)) == [WorkloadRequest(0.0, False, 10, 7)]


@pytest.mark.parametrize(
    ("config", "cv"),
    [
        (WorkloadConfig("poisson", poisson=PoissonConfig(4.0)), 1.0),
        (WorkloadConfig("gamma", gamma=GammaConfig(4.0, 0.5)), 0.5),
        (WorkloadConfig("gamma", gamma=GammaConfig(4.0, 3.0)), 3.0),
    ],
)
def test_interarrival_times_have_the_configured_mean_and_spread(config: WorkloadConfig, cv: float) -> None:
    """The standard error of the variance depends on the kurtosis, which 3 + 6 cv^2 gives for the Gamma distribution."""
    num = 40_000
    drawn = interarrivals_s(config, num)
    assert abs(drawn.mean() - 0.25) < 4 * cv * 0.25 / math.sqrt(num)
    assert abs(drawn.var() / (cv * 0.25) ** 2 - 1.0) < 4 * math.sqrt((2 + 6 * cv**2) / num)


def test_poisson_interarrival_times_are_exponential() -> None:
    """Kolmogorov-Smirnov distance at a level of 1/1000: 1.95 / sqrt(n). A clipped tail is detected."""
    num = 20_000
    drawn = np.sort(interarrivals_s(WorkloadConfig("poisson", poisson=PoissonConfig(4.0)), num))

    def distance(values: NDArray[np.float64]) -> float:
        expected = -np.expm1(-4.0 * values)
        return float(np.max(np.abs(expected - np.arange(1, num + 1) / num)))

    assert distance(drawn) < 1.95 / math.sqrt(num)
    assert distance(np.minimum(drawn, 3 * 0.25)) > 1.95 / math.sqrt(num)


def test_on_off_arrivals_have_the_mean_rate_and_index_of_dispersion() -> None:
    """Counts in 200 windows of 500 s with 25 bursts each: a relative standard error of the variance of 10%."""
    config = OnOffConfig(rate=1.0, on_s=5.0, off_s=15.0)
    assert config.busy_rate == pytest.approx(4.0)
    times = np.cumsum(interarrivals_s(WorkloadConfig("on_off", on_off=config), 105_000))
    counts = np.histogram(times, bins=200, range=(0.0, 100_000.0))[0]
    error = math.sqrt(config.index_of_dispersion * 500.0 / 200)
    assert abs(counts.mean() - 500.0) < 4 * error
    assert counts.var() / counts.mean() == pytest.approx(config.index_of_dispersion, rel=4 * 0.1)


@pytest.mark.parametrize("think_distribution", THINK_DISTRIBUTIONS)
def test_think_times_have_the_configured_mean_and_spread(think_distribution: str) -> None:
    config = ClosedConfig(think_s=3.0, think_distribution=think_distribution, cv=0.6)
    cv = {"fixed": 0.0, "exponential": 1.0, "lognormal": 0.6}[think_distribution]
    drawn = interarrivals_s(WorkloadConfig("closed", closed=config), 20_000)[1:]
    assert abs(drawn.mean() - 3.0) <= 4 * cv * 3.0 / math.sqrt(20_000)
    assert drawn.std() / drawn.mean() == pytest.approx(cv, rel=0.06)


def test_users_with_fixed_think_times_do_not_start_in_step() -> None:
    config = WorkloadConfig("closed", closed=ClosedConfig(think_s=3.0, think_distribution="fixed"))
    firsts = [interarrivals_s(config, 1, seed)[0] for seed in range(200)]
    assert abs(np.mean(firsts) - 1.5) < 4 * 3.0 / math.sqrt(12 * 200)


def test_users_that_start_late_send_nothing_before() -> None:
    config = WorkloadConfig("closed", closed=ClosedConfig(think_s=3.0, start_s=40.0))
    firsts = [interarrivals_s(config, 1, seed)[0] for seed in range(50)]
    assert min(firsts) >= 40.0
    assert all(late - soon == pytest.approx(40.0) for late, soon in zip(firsts, starts_of(3.0), strict=True))


def starts_of(think_s: float) -> list[float]:
    config = WorkloadConfig("closed", closed=ClosedConfig(think_s=think_s))
    return [interarrivals_s(config, 1, seed)[0] for seed in range(50)]


def merged(config: ArrivalTraceConfig) -> list[tuple[float, int, int]]:
    all_clients = workload(WorkloadConfig("trace", trace=config), NUM_CLIENTS)
    arrivals = []
    for client in range(NUM_CLIENTS):
        now = 0.0
        for request in all_clients.requests(client, np.random.default_rng(client)):
            now += request.interarrival_s
            arrivals.append((now, request.num_prompt_tokens, request.num_answer_tokens))
    return sorted(arrivals)


def test_all_clients_together_reproduce_the_trace(trace_file: Path) -> None:
    merged_arrivals = merged(ArrivalTraceConfig(str(trace_file), "mooncake"))
    assert [row[1:] for row in merged_arrivals] == [(10 + i, max(1, i)) for i in range(300)]
    assert [row[0] for row in merged_arrivals] == pytest.approx([0.5 * i for i in range(300)])


def test_a_trace_is_sped_up_started_later_and_its_lengths_limited(trace_file: Path) -> None:
    config = ArrivalTraceConfig(str(trace_file), "mooncake", speed=2.0, start_s=10.0, max_prompt=100, max_answer=50)
    merged_arrivals = merged(config)
    assert [row[1:] for row in merged_arrivals] == [(min(10 + i, 100), min(i, 50)) for i in range(20, 300)]
    assert [row[0] for row in merged_arrivals] == pytest.approx([0.25 * i for i in range(280)])


@pytest.mark.parametrize(
    ("name", "trace_format", "text"),
    [
        (
            "a.csv",
            "azure",
            "TIMESTAMP,ContextTokens,GeneratedTokens\n"
            "2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9805900,396,109\n",
        ),
        (
            "m.jsonl",
            "mooncake",
            '{"timestamp": 100, "input_length": 374, "output_length": 44, "hash_ids": [0]}\n'
            '{"timestamp": 4400, "input_length": 396, "output_length": 109, "hash_ids": [0, 1]}\n',
        ),
        (
            "v.jsonl",
            "vllm",
            '{"request_id": "b", "input_toks": 396, "output_toks": 109, "arrival_time": 1777142842.9}\n'
            '{"request_id": "a", "input_toks": 374, "output_toks": 44, "arrival_time": 1777142838.6}\n',
        ),
    ],
)
def test_traces_of_all_formats_are_read_in_order_of_time(
    name: str, trace_format: str, text: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    first, second = read_arrivals(tmp_path / name, trace_format)
    assert (first.at_s, first.num_prompt_tokens, first.num_answer_tokens) == (0.0, 374, 44)
    assert second.at_s == pytest.approx(4.3, abs=1e-6)
    assert (second.num_prompt_tokens, second.num_answer_tokens) == (396, 109)


@pytest.mark.parametrize("text", ["", "{", '{"timestamp": "x", "input_length": 1, "output_length": 1}', "[1]"])
def test_an_unreadable_trace_raises_an_error_that_names_it(text: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"trace\.jsonl"):
        read_arrivals(path, "mooncake")


def test_a_wrong_format_raises_an_error_that_names_the_missing_field(trace_file: Path) -> None:
    with pytest.raises(ConfigError, match="TIMESTAMP"):
        read_arrivals(trace_file, "azure")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"arrivals": "poison"}, "did you mean 'poisson'"),
        ({"poisson": {"rate": -1.0}}, r"poisson\.rate"),
        ({"poisson": {"rate": math.inf}}, r"poisson\.rate"),
        ({"poisson": {"rte": 1.0}}, "did you mean 'rate'"),
        ({"gamma": {"cv": 0.0}}, r"gamma\.cv"),
        ({"on_off": {"off_s": 0.0}}, r"on_off\.off_s"),
        ({"closed": {"think_s": -1.0}}, r"closed\.think_s"),
        ({"closed": {"think_distribution": "lognorm"}}, "did you mean 'lognormal'"),
        ({"trace": {"speed": 0.0}}, r"trace\.speed"),
        ({"trace": {"format": "azur"}}, "did you mean 'azure'"),
        ({"prompt": {"distribution": "normal"}}, "did you mean 'lognormal'"),
        ({"answer": {"uniform": {"low": 9, "high": 3}}}, r"uniform\.high"),
    ],
)
def test_a_wrong_value_raises_an_error_that_names_it(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        from_mapping(WorkloadConfig, wrong)


def test_a_turn_has_the_conversation_before_it_and_conversations_end() -> None:
    fixed = {"distribution": "fixed", "fixed": {"num_tokens": 30}}
    conversation = {"num_turns": 4, "max_prompt": 100, "user": {"think_s": 1.0, "think_distribution": "fixed"}}
    options = {"arrivals": "conversation", "conversation": conversation, "prompt": fixed, "answer": fixed}
    config: WorkloadConfig = from_mapping(WorkloadConfig, options)
    requests = list(itertools.islice(workload(config, 1).requests(0, np.random.default_rng(0)), 5))
    assert [(one.num_prompt_tokens, one.is_next_turn) for one in requests] == [
        (30, False),
        (90, True),
        (30, False),
        (90, True),
        (30, False),
    ]
    assert all(one.is_closed_loop for one in requests)
    assert {one.interarrival_s for one in requests[1:]} == {1.0}

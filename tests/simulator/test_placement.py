"""Servers on one machine: the same run with enough cores, a slower one with fewer."""

from functools import partial
from typing import Any

import pytest

from goodspeed.errors import ConfigError
from goodspeed.simulator.kernel import Call, Event, Kernel
from goodspeed.simulator.machine import MachineConfig
from goodspeed.simulator.placement import SharedMachine
from goodspeed.simulator.result import RunResult
from goodspeed.simulator.wire import Route
from goodspeed.simulator.world import simulate
from goodspeed.testing.scenarios import EQUAL_SPLIT, drafter_tier, small_scenario

HOSTS_S = ("batch_s", "receive_s", "send_s", "request_s", "reply_s", "deliver_s", "link_s", "read_s")
"""Keys of MachineConfig: CPU time, by what it is spent on."""


def run(machine: dict[str, Any], **tier: Any) -> RunResult:
    return simulate(small_scenario(drafter_tier(**tier), machine=machine))


def mean_s(result: RunResult) -> float:
    """The mean latency of an answer."""
    return sum(answer.finished_s - answer.requested_s for answer in result.answers) / len(result.answers)


def test_a_shared_machine_with_enough_cores_and_no_host_costs_changes_nothing() -> None:
    """One drafter only: with several, nanoseconds may decide which proposals share a batch."""
    own, shared = run({}, count=1), run({"cores": 64, "engine_threads": 2, "is_inline": False}, count=1)
    assert [one.num_rounds for one in shared.answers] == [one.num_rounds for one in own.answers]
    for name in ("requested_s", "first_token_s", "finished_s"):
        times = [[getattr(one, name) for one in result.answers] for result in (own, shared)]
        assert times[0] == pytest.approx(times[1], abs=1e-6)


def test_inline_drafting_delays_the_first_token() -> None:
    def first_s(is_inline: bool) -> float:
        return run({"cores": 64, "is_inline": is_inline}, count=1).answers[0].first_token_s

    assert first_s(True) > first_s(False) + 0.003


def test_fewer_cores_make_answers_slower() -> None:
    assert mean_s(run({"cores": 1})) > 1.1 * mean_s(run({"cores": 8}))


@pytest.mark.parametrize("cost", [*HOSTS_S, "timer_s", "idle_penalty_s"])
def test_every_host_cost_makes_answers_slower(cost: str) -> None:
    assert mean_s(run({"cores": 8, cost: 0.003}, count=1)) > mean_s(run({"cores": 8}, count=1))


@pytest.mark.parametrize("cost", ["timer_s", "link_s"])
def test_a_single_drafter_without_link_delay_uses_no_timer(cost: str) -> None:
    late, on_time = (run({"cores": 8, cost: cost_s}, count=1, link={}) for cost_s in (0.01, 0.0))
    assert late.answers == on_time.answers


def test_late_timers_delay_batches() -> None:
    """Drafts of one length arrive together with others, which batches wait for."""
    window = {"policy": "fixed", "max_tokens": 6}
    late, on_time = (run({"cores": 8, "timer_s": timer_s}, link={}, window=window) for timer_s in (0.003, 0.0))
    assert late.answers != on_time.answers


def test_frames_queued_at_a_busy_verifier_are_in_its_next_batch() -> None:
    """A frame takes 20 ms to receive, and a step almost nothing."""
    tier: dict[str, Any] = {"count": 8, "link": {}, "window": {"policy": "fixed", "max_tokens": 1}}
    quick, busy = (
        simulate(
            small_scenario(
                drafter_tier(**tier),
                machine={"cores": 64, "receive_s": receive_s},
                verifiers=[{"core": EQUAL_SPLIT, "latency": {"linear": {"base_s": 1e-4, "token_s": 0.0}}}],
            )
        )
        for receive_s in (0.0, 0.02)
    )
    per_step = [result.verifiers[0].num_tokens / result.verifiers[0].num_steps for result in (quick, busy)]
    assert per_step[1] > 1.2 * per_step[0]


def test_runs_on_a_shared_machine_are_reproducible() -> None:
    machine = {"cores": 2, "engine_threads": 2, "reply_s": 0.001, "receive_s": 0.0003}
    assert run(machine) == run(machine)


def test_negative_times_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"machine\.send_s is -1"):
        small_scenario(machine={"send_s": -1.0})


class Delays:
    """A NetworkPath with a given delay for each frame."""

    def __init__(self, kernel: Kernel, delays_ns: list[int]) -> None:
        self._kernel = kernel
        self._delays_ns = delays_ns

    def send(self, num_bytes: int, arrival: Event) -> int:  # noqa: ARG002
        arrives_ns = self._kernel.now_ns + self._delays_ns.pop(0)
        self._kernel.put(arrives_ns, arrival)
        return arrives_ns


def test_frames_keep_their_order_when_a_timer_is_late() -> None:
    """Sent at 0 and 0.6 ms with delays of 10.5 and 10 ms: their timers fire at 11 and 10.6 ms."""
    kernel, arrived = Kernel(), list[tuple[str, int]]()
    machine = SharedMachine(kernel, MachineConfig(cores=8, timer_s=0.001))
    paths = (Delays(kernel, [10_500_000, 10_000_000]), Delays(kernel, []))
    route = machine.route(Route(*paths), machine.slot(), machine.slot())

    def send(name: str) -> None:
        route.up.send(100, Call(lambda: arrived.append((name, round(kernel.now_ns / 1e5)))))

    kernel.at(0, partial(send, "first"))
    kernel.at(600_000, partial(send, "second"))
    kernel.run(10**9)
    assert arrived == [("first", 110), ("second", 110)]

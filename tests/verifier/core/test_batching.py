"""When a batch closes, with given times."""

import numpy as np
import pytest
from msgspec.structs import replace

from goodspeed.simulator.scenario import scenario_of
from goodspeed.simulator.world import simulate
from goodspeed.testing.virtual_verifier import VirtualDrafter, VirtualVerifier, open_request, unlimited_info
from goodspeed.verifier.core.batching.barrier import BarrierBatching
from goodspeed.verifier.core.batching.batching_policy import BatchingView, ExpectedProposal
from goodspeed.verifier.core.batching.deadline import DeadlineBatching
from goodspeed.verifier.core.batching.policies import BATCHINGS
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.core.timing.step_time import StepTimeModel

NOW = 50.0


def learned_step_time(base_s: float, token_s: float) -> StepTimeModel:
    step_time = StepTimeModel()
    for num_tokens in (2, 8, 5, 12, 3):
        step_time.observe(num_tokens, 1, base_s + token_s * num_tokens)
    return step_time


def view(
    *arrivals: ExpectedProposal,
    num_ready: int = 1,
    num_target_only: int = 0,
    base_s: float = 0.050,
    token_s: float = 0.001,
) -> BatchingView:
    return BatchingView(
        num_ready=num_ready,
        num_target_only=num_target_only,
        num_ready_tokens=5 * num_ready,
        num_ready_prompt=0,
        ready_since=NOW,
        num_awaited=len(arrivals),
        arrivals=arrivals,
        turnaround_s=0.020,
        step_time=learned_step_time(base_s, token_s),
    )


def arrival(after_s: float, latest_s: float | None = None) -> ExpectedProposal:
    return ExpectedProposal(NOW + after_s, NOW + (latest_s or after_s + 0.002), num_tokens=5)


@pytest.mark.parametrize("name", BATCHINGS)
def test_a_batch_that_awaits_no_proposal_closes_now(name: str) -> None:
    assert BATCHINGS[name](1.0).close_at(view(), NOW) <= NOW


def test_deadline_waits_for_a_proposal_that_is_about_to_arrive() -> None:
    assert DeadlineBatching().close_at(view(arrival(0.005, latest_s=0.009)), NOW) == NOW + 0.009


def test_deadline_does_not_wait_for_a_proposal_that_arrives_after_the_step() -> None:
    assert DeadlineBatching().close_at(view(arrival(0.054)), NOW) == NOW


def test_many_ready_streams_do_not_wait_for_one() -> None:
    with_straggler = view(arrival(0.045), num_ready=12, base_s=0.005, token_s=0.001)
    assert DeadlineBatching().close_at(with_straggler, NOW) == NOW


def test_target_only_streams_wait_less_since_the_next_step_includes_them() -> None:
    near = arrival(0.010, latest_s=0.012)
    assert DeadlineBatching().close_at(view(near, num_ready=5), NOW) == NOW + 0.012
    assert DeadlineBatching().close_at(view(near, num_ready=5, num_target_only=5), NOW) == NOW


def test_one_ready_stream_waits_for_many() -> None:
    crowd = [arrival(0.020 + 0.0001 * i, latest_s=0.025) for i in range(8)]
    assert DeadlineBatching().close_at(view(*crowd), NOW) == NOW + 0.025


def test_deadline_waits_for_the_near_proposal_and_not_for_the_far_one() -> None:
    near, far = arrival(0.002), arrival(0.049)
    assert DeadlineBatching().close_at(view(near, far, num_ready=4), NOW) == near.latest


def test_a_proposal_in_mid_step_is_awaited_if_its_own_step_would_delay_the_others() -> None:
    # Now: 52 ms, then 52 ms for the late stream, during which the first one proposes again. Together: 24 + 55 ms.
    assert DeadlineBatching().close_at(view(arrival(0.024), token_s=0.0005), NOW) > NOW


def test_unlearned_step_time_closes_now() -> None:
    unlearned = replace(view(arrival(0.001)), step_time=StepTimeModel())
    assert DeadlineBatching().close_at(unlearned, NOW) == NOW


def test_barrier_waits_for_absent_streams_until_its_timeout() -> None:
    assert BarrierBatching(timeout_s=0.7).close_at(view(arrival(5.0)), NOW + 0.1) == NOW + 0.7


def goodput(batching: str, waits_s: list[float], base_s: float, token_s: float, scheduler: str = "time_aware") -> float:
    """Committed tokens per second of drafters with these mean delays (20% jitter), in virtual time."""
    rng = np.random.default_rng(0)
    verifier = VirtualVerifier(
        VerifierCoreConfig(batching=batching, scheduler=scheduler, budget=6 * len(waits_s)),
        unlimited_info(),
        step_s=lambda num_tokens: base_s + token_s * num_tokens,
    )
    drafters = []
    for i, delay_s in enumerate(waits_s):

        def jittered(delay_s: float = delay_s) -> float:
            return delay_s * float(np.exp(0.2 * rng.standard_normal()))

        drafters.append(VirtualDrafter(verifier, f"drafter {i}", 0.7, jittered))
        drafters[-1].open(open_request(1, max_tokens=100_000))
    verifier.run(20.0)
    return sum(drafter.num_committed for drafter in drafters) / 20.0


@pytest.mark.parametrize(
    ("waits_s", "base_s", "token_s"),
    [
        ([0.002, 0.01, 0.02, 0.04], 0.050, 0.010),
        ([0.03, 0.03, 0.03, 0.03], 0.050, 0.001),
        ([0.02, 0.04, 0.06, 0.10], 0.020, 0.0002),
        ([0.005, 0.005, 0.1, 0.1], 0.040, 0.002),
        ([0.1, 0.1, 0.1, 0.1], 0.030, 0.006),
    ],
    ids=["slow engine", "equal delays", "wide area", "two fast, two slow", "slow drafts"],
)
def test_deadline_is_at_least_about_as_good_as_the_barrier(waits_s: list[float], base_s: float, token_s: float) -> None:
    barrier = goodput("barrier", waits_s, base_s, token_s, "fixed")
    assert goodput("deadline", waits_s, base_s, token_s, "fixed") > 0.95 * barrier


def test_one_slow_drafter_does_not_slow_the_others_under_deadline() -> None:
    waits_s = [0.005, 0.005, 0.005, 0.5]
    assert goodput("deadline", waits_s, 0.030, 0.003, "fixed") > 4 * goodput("barrier", waits_s, 0.030, 0.003, "fixed")


def test_a_slow_drafter_in_target_only_mode_does_not_delay_even_a_barrier() -> None:
    waits_s = [0.005, 0.005, 0.005, 0.5]
    assert goodput("barrier", waits_s, 0.030, 0.003) > 4 * goodput("barrier", waits_s, 0.030, 0.003, "fixed")


def test_a_dead_drafter_costs_the_barrier_one_timeout() -> None:
    verifier = VirtualVerifier(VerifierCoreConfig(batching="barrier", barrier_timeout_s=1.0))
    dead = verifier.welcome("dead")
    verifier.deliver(dead, open_request(1))
    alive = VirtualDrafter(verifier, "alive", 0.7)
    alive.open(open_request(1, max_tokens=400))
    verifier.run(10.0)
    assert len(alive.texts[1]) == 403  # with a timeout in every round there would be 10 rounds


def test_step_time_learns_base_and_slope() -> None:
    step_time = learned_step_time(0.04, 0.003)
    assert step_time.predict(20, 1) == pytest.approx(0.1)


def test_step_time_of_equal_steps_has_no_slope() -> None:
    step_time = StepTimeModel()
    for _ in range(10):
        step_time.observe(4, 1, 0.03)
    assert step_time.predict(100, 1) == pytest.approx(0.03)


def num_steps(max_proposal: int) -> int:
    """Steps in 5 s of 24 drafters over different links that propose 2 tokens, with grants of `max_proposal`."""
    tiers = [
        {
            "name": f"tier{i}",
            "link": {"rtt_ms": 10.0 + 3.0 * i, "jitter": 0.1},
            "window": {"policy": "fixed", "max_tokens": 2},
            "latency": {"linear": {"base_s": 0.002, "token_s": 0.0}},
            "workload": {
                "closed": {"think_s": 0.0},
                "answer": {"distribution": "fixed", "fixed": {"num_tokens": 200}},
            },
        }
        for i in range(24)
    ]
    core = {"scheduler": "fixed", "draft_selection": "arrival", "budget": 4096, "max_proposal": max_proposal}
    verifier = {"latency": {"linear": {"base_s": 0.005, "token_s": 0.001}}, "core": core}
    result = simulate(scenario_of({"duration_s": 5.0, "drafters": tiers, "verifiers": [verifier]}), seed=0)
    return result.verifiers[0].num_steps


def test_deadline_expects_what_drafters_propose_and_not_what_they_may() -> None:
    """If it expected 16 tokens of each, it would fear a long step of the late ones, and wait for them."""
    assert num_steps(16) == pytest.approx(num_steps(2), rel=0.02)

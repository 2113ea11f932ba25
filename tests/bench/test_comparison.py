"""The order of runs, and the prompts of each."""

from collections import Counter

import pytest

from goodspeed.bench.answer import LoadAnswer
from goodspeed.bench.comparison import BASELINE, Arm, ArmRun, BenchClient, ComparisonPlan, num_differing, run_order
from goodspeed.bench.endpoint import RequestSettings
from goodspeed.bench.experiment import Experiment, client_of
from goodspeed.bench.load import LoadShape
from goodspeed.bench.wire_traffic import DrafterTraffic
from goodspeed.cluster.cpu_time import CpuSeconds
from goodspeed.errors import ConfigError
from goodspeed.prompts.prompts import load_prompts

ARMS = [Arm(name, ("http://127.0.0.1:9",), "distributed") for name in ("a", "b", "c")]


def _plan(repetitions: int = 3, requests: int = 4, warm_up: int = 2) -> ComparisonPlan:
    return ComparisonPlan(RequestSettings(max_tokens=8), LoadShape(), repetitions, requests, warm_up)


def test_every_arm_has_a_turn_in_every_repetition_and_each_goes_first() -> None:
    order = [(arm.name, repetition) for arm, repetition in run_order(ARMS, 6)]
    assert len(set(order)) == len(order) == 18
    firsts = Counter(order[3 * repetition][0] for repetition in range(6))
    assert firsts == {"a": 2, "b": 2, "c": 2}


def test_repetitions_have_no_prompt_in_common() -> None:
    plan = _plan()
    client = client_of("ann", "coding", seed=0)
    shares = [plan.prompts_of(client, repetition) for repetition in range(-1, 3)]
    assert [len(share) for share in shares] == [2, 4, 4, 4]
    prompts = [prompt for share in shares for prompt in share]
    assert len(set(prompts)) == len(prompts) == plan.num_prompts


def test_clients_of_one_domain_have_different_prompt_orders() -> None:
    ann, bob = (client_of(name, "coding", seed=0) for name in ("ann", "bob"))
    assert set(ann.prompts) == set(bob.prompts) == set(load_prompts("coding"))
    assert ann.prompts != bob.prompts
    assert ann == client_of("ann", "coding", seed=0)
    assert ann != client_of("ann", "coding", seed=1)


def test_too_few_prompts_are_refused_before_the_first_request() -> None:
    client = BenchClient("ann", client_of("ann", "coding", 0).prompts[:13])
    with pytest.raises(
        ConfigError, match="ann has 13 prompts; 3 repetitions of 4 requests and 2 warm-up requests need 14"
    ):
        Experiment((client,), _plan(), {})


@pytest.mark.parametrize(("repetitions", "requests", "warm_up"), [(0, 1, 0), (1, 0, 0), (1, 1, -1)])
def test_an_empty_plan_is_refused(repetitions: int, requests: int, warm_up: int) -> None:
    with pytest.raises(ConfigError, match=r"expected [01] or more"):
        _plan(repetitions, requests, warm_up)


def test_texts_are_compared_prompt_by_prompt() -> None:
    def run(arm: str, repetition: int, *texts: str, finish_reason: str = "stop") -> ArmRun:
        answers = tuple(LoadAnswer(text, finish_reason, 3, 0.0, (1.0,), (1,)) for text in texts)
        return ArmRun(arm, repetition, (answers,), (DrafterTraffic(0.0, 0.0),), CpuSeconds(0.0, 0.0, 0.0))

    runs = [run(BASELINE, 0, "x", "y"), run("b", 0, "x", "y"), run("b", 1, "z"), run(BASELINE, 1, "z")]
    assert num_differing(runs, "b", BASELINE) == 0
    runs[1] = run("b", 0, "y", "x")
    assert num_differing(runs, "b", BASELINE) == 2
    runs[2] = run("b", 1, "z", finish_reason="length")
    assert num_differing(runs, "b", BASELINE) == 3

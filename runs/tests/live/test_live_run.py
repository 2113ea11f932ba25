"""A whole live run with toy engines: the run log is consistent."""

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from runs.live.live_run import LiveClient, LivePlan, LiveTarget, PersistentThread, run_live
from runs.live.run_log import RunLog
from runs.live.run_metrics import time_split

from goodspeed.engine.toy_draft import ToyDraft
from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.errors import ConfigError
from goodspeed.protocol.link_config import LinkConfig
from goodspeed.verifier.core.core_config import VerifierCoreConfig

BUDGET = 8
CONFIG = VerifierCoreConfig(
    scheduler="gradient", draft_selection="arrival", budget=BUDGET, max_proposal=BUDGET, batching="barrier"
)
PROMPT_TOKENS, MAX_TOKENS = 5, 12


@pytest.fixture
def target() -> Iterator[LiveTarget]:
    thread = PersistentThread()
    yield LiveTarget(ToyTarget(toy_info()), thread)
    thread.end()


def client(name: str, acceptance_rate: float, link: LinkConfig | None = None, pace_s: float = 0.0) -> LiveClient:
    prompts = (tuple((number + i) % 50 for i in range(PROMPT_TOKENS)) for number in itertools.count())
    return LiveClient(name, ToyDraft(acceptance_rate), prompts, link, pace_s)


def played(target: LiveTarget, config: VerifierCoreConfig, clients: list[LiveClient], plan: LivePlan) -> RunLog:
    return asyncio.run(run_live(target, config, clients, plan))


def test_every_client_has_its_rounds_and_their_numbers_are_consistent(target: LiveTarget) -> None:
    plan = LivePlan(MAX_TOKENS, rounds=60)
    run_log = played(target, CONFIG, [client("good", 0.9), client("poor", 0.3)], plan)
    assert run_log.is_complete
    assert [rounds.name for rounds in run_log.clients] == ["good", "poor"]
    for rounds in run_log.clients:
        assert len(rounds.rounds) >= 60
        for i in rounds.rounds:
            assert rounds.verified[i] <= rounds.proposed[i] <= rounds.granted[i] <= BUDGET
            assert rounds.accepted[i] <= rounds.verified[i]
            assert 1 <= rounds.committed[i] <= rounds.accepted[i] + 1
            assert 1.0 <= rounds.expected[i] <= 1 + rounds.granted[i]
        openings = [i for i, is_opening in enumerate(rounds.is_opening) if is_opening]
        assert openings[0] == 0
        assert [sum(rounds.committed[a:b]) for a, b in itertools.pairwise(openings)] == [MAX_TOKENS] * (
            len(openings) - 1
        )


def test_steps_have_the_proposed_tokens_and_ordered_times(target: LiveTarget) -> None:
    run_log = played(target, CONFIG, [client("a", 0.8), client("b", 0.5)], LivePlan(MAX_TOKENS, rounds=30))
    steps = run_log.steps
    in_clients = [0] * len(steps.closed_s)
    for rounds in run_log.clients:
        for step, verified in zip(rounds.step, rounds.verified, strict=True):
            in_clients[step] += verified
    assert in_clients == steps.num_draft_tokens
    assert max(in_clients) <= BUDGET
    marks = list(zip(steps.closed_s, steps.verified_s, steps.sending_s, steps.sent_s, strict=True))
    assert all(sorted(mark) == list(mark) for mark in marks)
    assert time_split(steps).sending > 0.0


def test_client_with_higher_acceptance_gets_a_higher_estimate(target: LiveTarget) -> None:
    run_log = played(target, CONFIG, [client("good", 0.9), client("poor", 0.2)], LivePlan(MAX_TOKENS, rounds=60))
    good, poor = (rounds.acceptance_rate[-1] for rounds in run_log.clients)
    assert good > poor + 0.2


def test_next_run_uses_the_same_target_and_thread(target: LiveTarget) -> None:
    plan = LivePlan(MAX_TOKENS, rounds=5)
    first, second = (played(target, CONFIG, [client("a", 0.5)], plan) for _ in range(2))
    assert first.clients[0].committed[:5] == second.clients[0].committed[:5]
    assert isinstance(target.engine, ToyTarget)
    assert target.engine.num_open == 0


def test_run_limited_by_time_ends_in_time_and_emulates_devices_and_links(target: LiveTarget) -> None:
    clients = [client("near", 0.6), client("far", 0.6, LinkConfig(rtt_ms=40.0)), client("slow", 0.6, pace_s=0.02)]
    config = VerifierCoreConfig(budget=12, max_proposal=12, scheduler="fixed", batching="deadline")
    run_log = played(target, config, clients, LivePlan(200, rounds=0, seconds=1.0))
    assert run_log.is_complete
    near, far, slow = (len(rounds.at_s) for rounds in run_log.clients)
    assert far <= 1.0 / 0.04 + 1  # a round takes its round trip
    assert slow <= 1.0 / 0.02
    assert min(near, far, slow) > 0


def test_run_without_time_for_its_rounds_is_not_complete(target: LiveTarget) -> None:
    plan = LivePlan(MAX_TOKENS, rounds=10_000_000, seconds=0.1)
    assert not played(target, CONFIG, [client("a", 0.5)], plan).is_complete


def test_run_log_is_saved_and_loaded(target: LiveTarget, tmp_path: Path) -> None:
    run_log = played(target, CONFIG, [client("a", 0.5)], LivePlan(MAX_TOKENS, rounds=5))
    run_log.save(tmp_path / "deep" / "run.json")
    assert RunLog.load(tmp_path / "deep" / "run.json") == run_log
    (tmp_path / "other.json").write_text('{"rounds": 3}')
    with pytest.raises(ConfigError, match=r"other\.json"):
        RunLog.load(tmp_path / "other.json")

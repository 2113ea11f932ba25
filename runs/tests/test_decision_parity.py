"""Replay gives the decisions of a live run, and detects a changed line of a policy. Toy models."""

import asyncio
from pathlib import Path

import pytest
from runs.decision_parity import PLANTED, LiveScene, record, replay_all

from goodspeed.decoding.mode import Mode
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.drafter.core.core_config import DrafterCoreConfig as DrafterConfig
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.routing.policies import ROUTINGS
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.server import new_engine_thread

SAMPLINGS = (Sampling(), Sampling(0.7, rule=Rule.COUPLED), Sampling(1.0, top_k=9, rule=Rule.REJECTION))


@pytest.fixture(scope="module", params=[(1, "failover"), (2, "round_robin")], ids=["one", "two verifiers"])
def logs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Event logs of four drafters over links with jitter; one loses its links and reconnects."""
    num_verifiers, routing = request.param
    scene = LiveScene(
        [ToyTarget(toy_info()) for _ in range(num_verifiers)],
        [new_engine_thread() for _ in range(num_verifiers)],
        [
            GenerationRequest(
                tuple(b"ab" * 9), 40, SAMPLINGS[i % 3], mode=Mode.TARGET_ONLY if i % 5 == 4 else Mode.DISTRIBUTED
            )
            for i in range(16)
        ],
        VerifierCoreConfig(batching="barrier", barrier_timeout_s=0.05),
        DrafterConfig(num_verifiers=num_verifiers, routing=routing),
        lost_s=0.1,
    )
    return asyncio.run(asyncio.wait_for(record(scene, tmp_path_factory.mktemp("logs")), 30))


def test_replayed_decisions_are_those_of_the_live_run(logs: list[Path]) -> None:
    replayed = replay_all(logs)
    assert [log.difference for log in replayed] == [None] * len(logs)
    assert all(log.decisions > 40 for log in replayed)
    assert '"link_lost"' in Path(logs[-4]).read_text()  # drafter 0 lost its links and resumed its streams


@pytest.mark.parametrize(
    ("policy", "core"), [("barrier", "verifier"), ("confidence", "drafter"), ("round_robin", "drafter")]
)
def test_changed_line_of_a_policy_is_detected(logs: list[Path], policy: str, core: str) -> None:
    with PLANTED[policy]():
        found = [log for log in replay_all(logs) if log.difference]
    has_choice = policy not in ROUTINGS or len(logs) > 5  # with one verifier there is nothing to route
    assert {log.core for log in found} == ({core} if has_choice else set())

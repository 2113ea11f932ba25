"""Idle engines in a simulated run: their next step pays the measured penalty."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from goodspeed.profiling.profile_grid import ProfileCell
from goodspeed.simulator.result import RunResult
from goodspeed.simulator.world import simulate
from goodspeed.testing.scenarios import drafter_tier, small_scenario

STEP_S, PENALTY_S = 0.010, 0.004
"""Step time of both engines, and its penalty after an idle time of at least 10 ms."""


def cell(streams: int, tokens: int, context: int, pause_s: float = 0.0) -> ProfileCell:
    seconds = STEP_S + (PENALTY_S if pause_s >= 0.010 else 0.0)
    return ProfileCell(streams, tokens, context, seconds, seconds, seconds, tokens, pause_s)


@pytest.fixture
def table(tmp_path: Path) -> str:
    cells = [cell(streams, tokens, context) for streams in (1, 8) for tokens in (1, 512) for context in (1, 4096)]
    after_pauses = [cell(1, 1, 64, pause_s) for pause_s in (0.0, 0.009, 0.010)]
    path = tmp_path / "steps.json"
    tables = {"schema": 3, "verify": cells, "prefill": cells, "drafting": cells, "opening": cells}
    path.write_bytes(msgspec.json.encode({**tables, "after_pauses": after_pauses, "draft_after_pauses": after_pauses}))
    return str(path)


def run(table: str, rtt_ms: float) -> RunResult:
    """A run of one drafter that proposes one token per round, and drafts nothing past it."""

    def latency(role: str) -> dict[str, Any]:
        return {"kind": "table", "table": {"path": table, "role": role}}

    tier = drafter_tier(
        count=1,
        link={"rtt_ms": rtt_ms},
        latency=latency("draft"),
        window={"policy": "fixed", "max_tokens": 1},
        acceptance={"fixed": {"rate": 1.0}},
        run_ahead="never",
    )
    return simulate(
        small_scenario(tier, verifiers=[{"latency": latency("target"), "core": {"scheduler": "fixed", "budget": 4}}])
    )


def step_s(result: RunResult) -> float:
    """The mean verification step."""
    (verifier,) = result.verifiers
    return verifier.busy_s / verifier.num_steps


def drafting_s(result: RunResult) -> float:
    """The mean drafting time per round."""
    return sum(one.drafting_s for one in result.answers) / sum(one.num_rounds for one in result.answers)


def test_every_step_pays_the_idle_penalty_if_the_only_drafter_is_far_away(table: str) -> None:
    assert step_s(run(table, rtt_ms=50.0)) == pytest.approx(STEP_S + PENALTY_S, rel=0.02)
    assert step_s(run(table, rtt_ms=0.0)) == pytest.approx(STEP_S, rel=0.05), "only requests come after a pause"


def test_a_drafter_pays_the_idle_penalty_once_per_round(table: str) -> None:
    """The drafter is idle during the target's steps. The first round follows no idle time."""
    assert drafting_s(run(table, rtt_ms=0.0)) == pytest.approx(PENALTY_S, rel=0.1)

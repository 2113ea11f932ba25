"""Engines on which others saw speculative decoding lose: the default is not slower there than the target alone.

Each is a target whose steps of a few tokens take what a public report says, for one stream. With two tokens a step of
some takes twice to five times as long, so no draft of one token can pay, and on some none of any length.
"""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from goodspeed.profiling.profile_grid import ProfileCell
from goodspeed.simulator.latency.measured_table import SCHEMA
from goodspeed.simulator.scenario import Scenario, scenario_of
from goodspeed.simulator.world import simulate

REPORTS = {
    # two tokens take five times as long, more hardly longer
    "llama.cpp#4624": (20.0, 100.0, 101.0, 102.0, 104.0, 106.0, 108.0, 110.0),
    # a mixture of experts reads other experts for every token
    "omlx#2077": (51.0, 112.0, 168.0, 224.0, 280.0, 336.0, 392.0, 448.0),
    "ik_llama.cpp#1630": (5.9, 17.9, 20.6, 22.9, 25.0, 27.0, 28.6, 30.1),
    # quantised: another kernel from nine tokens on
    "llama.cpp#5625": (28.8, 30.9, 32.3, 36.9, 37.0, 44.5, 46.4, 49.7, 112.0),
}
"""Milliseconds of a step of 1, 2, 3 ... tokens; between and beyond reported sizes on a straight line."""
PAYS = "llama.cpp#5625"
"""Drafts pay on this one, up to the jump."""


def latency(folder: Path, steps_ms: tuple[float, ...]) -> dict[str, object]:
    cells = [
        ProfileCell(1, num_tokens, context, step_ms / 1e3, step_ms / 1e3, step_ms / 1e3)
        for num_tokens, step_ms in enumerate(steps_ms, start=1)
        for context in (1, 1000)
    ]
    path = folder / "profile.json"
    path.write_bytes(
        msgspec.json.encode({"schema": SCHEMA, "verify": cells, "prefill": [], "drafting": [], "opening": []})
    )
    return {"kind": "table", "table": {"path": str(path)}}


def scenario(latency: dict[str, object], acceptance_rate: float) -> Scenario:
    tier = {
        "name": "laptop",
        "link": {"rtt_ms": 0.5},
        "latency": {"linear": {"base_s": 0.001, "token_s": 0.0}},
        "acceptance": {"fixed": {"rate": acceptance_rate}},
        "co_located_acceptance": {"fixed": {"rate": acceptance_rate / 2}},
        "workload": {
            "closed": {"think_s": 0.0},
            "prompt": {"distribution": "fixed", "fixed": {"num_tokens": 8}},
            "answer": {"distribution": "fixed", "fixed": {"num_tokens": 100}},
        },
    }
    return scenario_of({"duration_s": 60.0, "drafters": [tier], "verifiers": [{"latency": latency}]})


def time_per_token_s(scenario: Scenario) -> float:
    """Of the answers after the first third of the run, in which the verifier learns."""
    answers = [answer for answer in simulate(scenario).answers if answer.requested_s > scenario.duration_s / 3]
    return float(np.mean([(a.finished_s - a.first_token_s) / (a.num_answer_tokens - 1) for a in answers]))


@pytest.mark.parametrize("acceptance_rate", [0.5, 0.9])
@pytest.mark.parametrize("report", REPORTS)
def test_drafts_do_not_slow_down_an_engine_on_which_they_lose(
    report: str, acceptance_rate: float, tmp_path: Path
) -> None:
    steps = latency(tmp_path, REPORTS[report])
    step_s = REPORTS[report][0] / 1e3
    default = time_per_token_s(scenario(steps, acceptance_rate))
    assert default < 1.02 * step_s
    assert report != PAYS or acceptance_rate < 0.9 or default < 0.5 * step_s

"""Tables of `goodspeed profile` as latency models."""

from pathlib import Path

import msgspec
import pytest

from goodspeed.cluster.machine import this_machine
from goodspeed.commands.profile import SCHEMA, Profile
from goodspeed.engine.drafts import DraftConfig
from goodspeed.errors import ConfigError
from goodspeed.profiling.profile_grid import ProfileCell
from goodspeed.simulator.latency.interpolation_grid import ExtrapolationWarning
from goodspeed.simulator.latency.latency_model import StepShape
from goodspeed.simulator.latency.measured_table import MeasuredTableConfig

BASE_S = 0.010


def step_s(streams: int, tokens: int, context: int) -> float:
    return BASE_S + 0.001 * streams * tokens + 1e-6 * streams * context


def cell(streams: int, tokens: int, context: int, seconds: float, num_drafted: float | None = None) -> ProfileCell:
    return ProfileCell(streams, tokens, context, seconds, seconds, seconds, num_drafted)


def write_profile(folder: Path) -> str:
    """As `goodspeed profile --json` does, of an engine whose times are known."""
    grid = [(s, t, c) for s in (1, 2, 4, 8, 16, 32) for t in (1, 8, 32) for c in (64, 1024)]
    profile = Profile(
        schema=SCHEMA,
        command=["goodspeed", "profile"],
        machine=this_machine(),
        model="toy",
        model_fingerprint="toy",
        draft=DraftConfig(),
        verify=[cell(*point, step_s(*point)) for point in grid],
        prefill=[cell(1, tokens, 512, BASE_S + 0.0005 * tokens) for tokens in (64, 128, 512)],
        drafting=[cell(1, t, c, 0.004 * t + 0.002, t - 0.5) for t in (1, 8) for c in (64, 1024)],
        opening=[cell(1, tokens, 1, 0.0003 * tokens) for tokens in (100, 500)],
        after_pauses=[ProfileCell(1, 8, 64, s, s, s, pause_s=p) for p, s in ((0.0, 0.018), (0.1, 0.024))],
        draft_after_pauses=[ProfileCell(1, 8, 64, s, s, s, pause_s=p) for p, s in ((0.0, 0.034), (0.1, 0.035))],
    )
    path = folder / "steps.json"
    path.write_bytes(msgspec.json.encode(profile))
    return str(path)


def test_steps_are_interpolated_between_measured_ones(tmp_path: Path) -> None:
    model = MeasuredTableConfig(write_profile(tmp_path)).model()
    shape = StepShape(num_streams=3, num_tokens=12, num_prefill_tokens=0, num_context_tokens=3 * 504)
    assert model.step_s(shape) == pytest.approx(step_s(3, 4, 500))


def test_a_prompt_adds_its_cost_beyond_the_shortest_step(tmp_path: Path) -> None:
    model = MeasuredTableConfig(write_profile(tmp_path)).model()
    beside = model.step_s(StepShape(5, 4 + 128, 128, 5 * 201))
    assert beside == pytest.approx(model.step_s(StepShape(4, 4, 0, 4 * 201)) + 0.0005 * 128, rel=0.02)
    assert model.step_s(StepShape(1, 128, 128, 128)) == pytest.approx(BASE_S + 0.0005 * 128)


def test_a_draft_step_costs_its_share_of_the_longest_round(tmp_path: Path) -> None:
    model = MeasuredTableConfig(write_profile(tmp_path), role="draft").model()
    assert model.step_s(StepShape(1, 1, 0, 301)) == pytest.approx((0.004 * 8 + 0.002) / 7.5)


def test_chunks_of_a_prompt_together_cost_as_much_as_the_prompt(tmp_path: Path) -> None:
    model = MeasuredTableConfig(write_profile(tmp_path), role="draft").model()
    pieces = [StepShape(1, 120, 120, 120 * (i + 1)) for i in range(3)]
    assert sum(model.step_s(piece) for piece in pieces) == pytest.approx(0.0003 * 360)


@pytest.mark.parametrize(("role", "more_s"), [("target", 0.003), ("draft", 0.0005)])
def test_a_step_after_an_idle_time_costs_the_idle_penalty(tmp_path: Path, role: str, more_s: float) -> None:
    model = MeasuredTableConfig(write_profile(tmp_path), role=role).model()
    at_once, rested = (model.step_s(StepShape(1, 1, 0, 301, pause_s)) for pause_s in (0.0, 0.05))
    assert rested - at_once == pytest.approx(more_s)


def test_a_profile_without_idle_times_can_be_loaded(tmp_path: Path) -> None:
    path = Path(write_profile(tmp_path))
    tables = msgspec.json.decode(path.read_bytes())
    del tables["after_pauses"], tables["draft_after_pauses"]
    path.write_bytes(msgspec.json.encode(tables))
    model = MeasuredTableConfig(str(path)).model()
    assert model.step_s(StepShape(1, 1, 0, 301, 0.05)) == model.step_s(StepShape(1, 1, 0, 301))


def test_extrapolation_warns(tmp_path: Path) -> None:
    model = MeasuredTableConfig(write_profile(tmp_path)).model()
    with pytest.warns(ExtrapolationWarning, match="verification: streams of 64 is outside of what was measured, 1 to"):
        model.step_s(StepShape(64, 64, 0, 64 * 100))


def test_an_invalid_profile_raises_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the latency table 'nowhere.json'"):
        MeasuredTableConfig("nowhere.json").model()
    other = tmp_path / "other.json"
    other.write_text('{"schema": 3, "verify": []}')
    with pytest.raises(ConfigError, match=r"is not a table of `goodspeed profile`: .*prefill"):
        MeasuredTableConfig(str(other)).model()
    other.write_text('{"schema": 3, "verify": [], "prefill": [], "drafting": []}')
    with pytest.raises(ConfigError, match="no verification step, expected at least one"):
        MeasuredTableConfig(str(other)).model()
    with pytest.raises(ConfigError, match="no drafting or no opening, expected at least one point of each"):
        MeasuredTableConfig(str(other), role="draft").model()
    other.write_text('{"schema": 2, "verify": [], "prefill": [], "drafting": []}')
    with pytest.raises(ConfigError, match="is a table of schema 2, expected 3"):
        MeasuredTableConfig(str(other)).model()

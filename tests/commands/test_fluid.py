"""`goodspeed fluid` passes, and fails when the recursion is wrong."""

import json
from pathlib import Path

import pytest

from goodspeed.cli import main
from goodspeed.commands.fluid import FluidConfig, run
from goodspeed.fluid.problem import Floats
from goodspeed.fluid.update import Update


def _away(goodputs: Floats, latest: Floats, share: float) -> Floats:
    """Eq. 4 with a sign flipped."""
    return goodputs - share * (latest - goodputs)


def _forgetful(goodputs: Floats, latest: Floats, share: float) -> Floats:
    """Eq. 4 with a sign flipped inside."""
    return goodputs + share * (latest + goodputs)


def test_all_checks_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report, plot = tmp_path / "deep" / "fluid.json", tmp_path / "fluid.svg"
    assert main(["fluid", "--quick", "--json", str(report), "--plot", str(plot)]) == 0
    shown = capsys.readouterr().out
    assert "BROKEN" not in shown
    assert "7.0150" in shown
    found = json.loads(report.read_text(encoding="utf-8"))
    assert all(check["holds"] for check in found["checks"])
    assert found["optimum"]["utility"] == pytest.approx(7.015, abs=5e-4)
    assert [start["start"] for start in found["fluid"]] == ["below", "within", "above", "boundary"]
    assert found["tracking"][0]["num_runs_within"] == found["tracking"][0]["num_runs"]
    assert "<svg" in plot.read_text(encoding="utf-8")


@pytest.mark.parametrize("update", [_away, _forgetful])
def test_a_flipped_sign_breaks_a_check(update: Update, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(FluidConfig(quick=True), update) == 1
    shown = capsys.readouterr().out
    assert "BROKEN" in shown


def test_an_unknown_plot_format_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fluid", "--quick", "--plot", str(tmp_path / "fluid.xyz")]) == 2
    assert "expected a file that ends in .svg" in capsys.readouterr().err


def test_wrong_flags_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fluid", "--seed", "-1"]) == 2
    assert "seed is -1" in capsys.readouterr().err

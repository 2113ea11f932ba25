"""Tables and figures from run logs."""

import csv
import sys
from pathlib import Path

import pytest
from runs import live_report
from runs.live.run_log import ClientRounds, RunLog, StepTimes

NUM_ROUNDS = 40


def write_run_log(folder: Path, arm: str, seed: int, committed: tuple[int, int]) -> None:
    """Two clients with equal rounds, one per second; verification takes half a second."""
    starts = [float(i) for i in range(NUM_ROUNDS)]
    ends = [start + 0.5 for start in starts]
    steps = StepTimes(starts, ends, ends, ends, [4] * NUM_ROUNDS, [0] * NUM_ROUNDS)
    clients = [
        ClientRounds(
            name,
            is_opening=[False] * NUM_ROUNDS,
            committed=[n] * NUM_ROUNDS,
            verified=[2] * NUM_ROUNDS,
            expected=[1.5] * NUM_ROUNDS,
            at_s=ends,
        )
        for name, n in zip(("near", "far"), committed, strict=True)
    ]
    RunLog({}, clients, steps).save(folder / "pair" / arm / f"seed{seed}.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed in (1, 2):
        write_run_log(tmp_path, "fixed", seed, (2, 2))
        write_run_log(tmp_path, "gradient", seed, (4, 2 + seed))
    return tmp_path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_figures_of_the_paper_are_written_with_their_values(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        sys, "argv", ["live_report", "--input", str(folder), "--ours", "gradient", "--figures", str(folder / "figures")]
    )
    live_report.main()
    table = capsys.readouterr().out
    assert "| pair | gradient | 2 | 2.629 (" in table  # mean of log 12 and log 16
    for name in ("live-utility", "live-wall-time", "live-estimates-pair"):
        assert (folder / "figures" / f"{name}.svg").read_text().startswith("<?xml")
    last = [row for row in rows(folder / "figures" / "live-utility.csv") if row["round"] == str(NUM_ROUNDS)]
    assert {row["arm"]: float(row["utility"]) for row in last} == pytest.approx({"fixed": 1.3863, "gradient": 2.6287})
    fixed, _ = rows(folder / "figures" / "live-wall-time.csv")
    assert float(fixed["verification"]) == pytest.approx(NUM_ROUNDS * 0.5 / (NUM_ROUNDS * 4) * 1000)
    assert float(fixed["total"]) == pytest.approx((NUM_ROUNDS - 0.5) / (NUM_ROUNDS * 4) * 1000, abs=1e-3)


def test_goodput_per_second_is_compared_by_client(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--input", str(folder), "--per-second", "--figures", str(folder / "figures")]
    monkeypatch.setattr(sys, "argv", ["live_report", *arguments])
    live_report.main()
    assert "| gradient | 2 | " in capsys.readouterr().out
    ratios = {(row["arm"], row["client"]): float(row["ratio"]) for row in rows(folder / "figures" / "live-links.csv")}
    assert ratios["gradient", "near"] == pytest.approx(2.0)
    assert ratios["gradient", "far"] == pytest.approx((1.5 * 2.0) ** 0.5, abs=1e-3)

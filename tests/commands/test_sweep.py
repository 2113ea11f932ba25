"""`goodspeed sweep`: a grid from a file to tables and files, stopped and resumed."""

import csv
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from goodspeed.cli import main
from goodspeed.experiment.tables import HEADLINE_METRICS

SCENARIO = """
name = "swept"
duration_s = 5.0
[[drafters]]
count = 3
workload.closed.think_s = 0.1
"""
SETS = ["--set", "verifiers.0.core.budget=6,24", "--set", "drafters.*.link.rtt_ms=5.0,50.0"]
TIMEOUT_S = 60.0


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "swept.toml"
    path.write_text(SCENARIO + '[[verifiers]]\ncore.scheduler = "fixed"\n', encoding="utf-8")
    return path


def _sweep(scenario: Path, folder: Path, *arguments: str) -> list[str]:
    return ["sweep", str(scenario), *SETS, "--output", str(folder), "--jobs", "1", *arguments]


def test_every_cell_runs_and_is_compared_and_written(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    assert main(_sweep(scenario, folder, "--seeds", "3")) == 0
    shown = capsys.readouterr().out
    assert "differences from" in shown
    rows = list(csv.DictReader((folder / "sweep.csv").open(encoding="utf-8")))
    settings = {(row["verifiers.0.core.budget"], row["drafters.*.link.rtt_ms"]) for row in rows}
    assert len(rows) == 12
    assert settings == {(budget, rtt) for budget in ("6", "24") for rtt in ("5.0", "50.0")}
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    far = summary["cells"][1]["against_first"]["differences"]["ttft_p50_s"]
    assert far["low"] > 0.04, "45 ms more of round trip show, and nothing else changes"
    assert (folder / "sweep.parquet").exists()


def test_the_report_has_a_section_for_every_swept_key(scenario: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    assert main(_sweep(scenario, folder, "--seeds", "2")) == 0
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert re.findall(r"<h2>By (.*?)</h2>", report) == ["verifiers.0.core.budget", "drafters.*.link.rtt_ms"]
    assert report.count("<svg") == 2 * len(HEADLINE_METRICS)
    assert not re.findall(r"""(?:src|href)=["'](?!data:)|https?://|<script""", report)


def test_an_existing_sweep_is_resumed_or_refused(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    assert main(_sweep(scenario, folder, "--seeds", "1")) == 0
    assert main(_sweep(scenario, folder, "--seeds", "1")) == 2
    assert "--resume continues it" in capsys.readouterr().err
    assert main(_sweep(scenario, folder, "--seeds", "2", "--resume")) == 0
    assert len(list((folder / "cells").iterdir())) == 12, "two seeds and a pilot"
    scenario.write_text(scenario.read_text(encoding="utf-8").replace("count = 3", "count = 4"), encoding="utf-8")
    assert main(_sweep(scenario, folder, "--seeds", "2", "--resume")) == 2
    assert "drafters.0.count was 3 and is 4" in capsys.readouterr().err


def test_ctrl_c_exits_with_130_and_keeps_finished_runs(scenario: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    arguments = ["--seeds", "2000", "--jobs", "2"]
    command = [sys.executable, "-m", "goodspeed", *_sweep(scenario, folder, *arguments)]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        _wait_for_a_cell(folder)
        running.send_signal(signal.SIGINT)
        _, error = running.communicate(timeout=TIMEOUT_S)
    finally:
        running.kill()
    assert running.returncode == 130
    assert re.search(r"goodspeed: \d+ of 8004 are done; --resume continues", error)
    assert "Traceback" not in error
    kept = list((folder / "cells").iterdir())
    assert kept
    assert all(path.suffix == ".json" for path in kept)


def _wait_for_a_cell(folder: Path) -> None:
    give_up = time.monotonic() + TIMEOUT_S
    while not list(folder.glob("cells/*.json")):
        assert time.monotonic() < give_up, "no cell was done"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "drafters.0.lnk.rtt_ms=5"], "did you mean 'link'"),
        (["--set", "drafters.5.count=5"], "no entry '5'"),
        (["--set", "mode=distributed,target_onyl"], "did you mean 'target_only'"),
        (["--set", "seed=1,2"], "--first-seed set the seeds"),
        (["--until-s", "-1"], "until_s is -1.0"),
        (["--ray", "localhost:1"], "no Ray cluster at localhost:1"),
    ],
)
def test_wrong_flags_are_named_before_anything_runs(
    scenario: Path, tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    assert main(["sweep", str(scenario), "--output", str(folder), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(folder.glob("cells/*"))

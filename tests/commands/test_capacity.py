"""`goodspeed capacity`: from a scenario to a table and files, stopped and resumed."""

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

SCENARIO = """
name = "served"
duration_s = 4.0
[[verifiers]]
latency.linear = { base_s = 0.01, token_s = 0.002 }
[[drafters]]
name = "near"
count = 2
workload.closed.think_s = 0.1
workload.answer = { distribution = "fixed", fixed = { num_tokens = 8 } }
[[drafters]]
name = "far"
link.rtt_ms = 20.0
workload.closed.think_s = 0.1
workload.answer = { distribution = "fixed", fixed = { num_tokens = 8 } }
"""
SLO = ["--slo", "tpot=80ms,ttft=2s", "--share", "90%"]
TIMEOUT_S = 60.0


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "served.toml"
    path.write_text(SCENARIO, encoding="utf-8")
    return path


def _capacity(scenario: Path, folder: Path, *arguments: str) -> list[str]:
    common = ["--output", str(folder), "--jobs", "1", "--resolution", "0.5", "--max-clients", "48"]
    return ["capacity", str(scenario), *common, *arguments]


def test_arms_are_searched_compared_and_written(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    arms = ["--set", "mode=target_only,distributed", "--seeds", "2", "--json"]
    assert main(_capacity(scenario, folder, *SLO, *arms)) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert printed["slo"] == "tpot=80ms,ttft=2s for 90%"
    assert printed["warm_up_s"] == 1.0
    assert [arm["name"] for arm in printed["arms"]] == ["mode=target_only", "mode=distributed"]
    for arm in printed["arms"]:
        assert arm["clients"]["mean"] == sum(seed["num_clients"] for seed in arm["by_seed"].values()) / 2
        assert arm["beside_first"]["clients"]["mean"] > 0
    rows = list(csv.DictReader((folder / "capacity.csv").open(encoding="utf-8")))
    assert len(rows) == len(list((folder / "cells").iterdir()))
    assert {row["arm"] for row in rows} == {"mode=target_only", "mode=distributed"}
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert report.count("<svg") == 1
    assert not re.findall(r"""(?:src|href)=["'](?!data:)|https?://|<script""", report)


def test_a_search_is_resumed_with_another_slo_or_refused(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    assert main(_capacity(scenario, folder, *SLO, "--seeds", "1")) == 0
    assert "clients within tpot=80ms,ttft=2s for 90%" in capsys.readouterr().out
    files = {path: path.stat().st_mtime_ns for path in (folder / "cells").iterdir()}
    assert main(_capacity(scenario, folder, *SLO, "--seeds", "1")) == 2
    assert "already holds a capacity search: --resume continues it" in capsys.readouterr().err
    assert main(_capacity(scenario, folder, "--slo", "tpot_p90=70ms", "--seeds", "1", "--resume")) == 0
    assert files.items() <= {path: path.stat().st_mtime_ns for path in (folder / "cells").iterdir()}.items()
    assert main(_capacity(scenario, folder, *SLO, "--warm-up-s", "0.5", "--resume")) == 2
    assert "warm_up was '1' and is '0.5'" in capsys.readouterr().err


def test_a_folder_of_a_sweep_is_refused(scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "out"
    assert main(["sweep", str(scenario), "--output", str(folder), "--seeds", "1", "--jobs", "1"]) == 0
    assert main(_capacity(scenario, folder, *SLO, "--resume")) == 2
    assert "is not part of a capacity search" in capsys.readouterr().err


def test_ctrl_c_exits_with_130_and_keeps_finished_simulations(scenario: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    command = [sys.executable, "-m", "goodspeed", *_capacity(scenario, folder, *SLO, "--seeds", "500", "--jobs", "2")]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        give_up = time.monotonic() + TIMEOUT_S
        while len(list(folder.glob("cells/*.json"))) < 8:
            assert time.monotonic() < give_up, "no simulation was done"
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        _, error = running.communicate(timeout=TIMEOUT_S)
    finally:
        running.kill()
    assert running.returncode == 130
    assert re.search(r"goodspeed: \d+ simulations are done; --resume continues", error)
    assert "Traceback" not in error
    assert all(path.suffix == ".json" for path in (folder / "cells").iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "slo is empty"),
        (["--slo", "tpot=50"], "with a limit in ms or s"),
        (["--slo", "ttf=50ms"], "did you mean 'ttft'"),
        ([*SLO, "--set", "drafters.*.count=5"], "--max-clients is the highest number"),
        ([*SLO, "--set", "drafters.0.lnk.rtt_ms=5"], "did you mean 'link'"),
        ([*SLO, "--set", "mode=distributed,target_onyl"], "did you mean 'target_only'"),
        ([*SLO, "--set", "seed=1,2"], "--first-seed set the seeds"),
        ([*SLO, "--max-clients", "1"], "there are 2 drafter tiers and 1 clients"),
        ([*SLO, "--warm-up-s", "4"], "warm_up_s is 4, expected less than the 4 simulated seconds"),
        ([*SLO, "--until-s", "-1"], "until_s is -1.0"),
        ([*SLO, "--set", "drafters.*.workload.arrivals=trace"], "whose requests are shared among the clients"),
    ],
)
def test_wrong_flags_are_named_before_anything_runs(
    scenario: Path, tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    assert main(_capacity(scenario, folder, *arguments)) == 2
    assert message in capsys.readouterr().err
    assert not list(folder.glob("cells/*"))

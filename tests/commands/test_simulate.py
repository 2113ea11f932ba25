"""`goodspeed simulate`: from a file to tables, files and an exit code."""

import csv
import json
from pathlib import Path

import pytest

from goodspeed.cli import main

SCENARIO = """
name = "two tiers"
duration_s = 8.0
[[drafters]]
name = "near"
count = 2
workload.closed.think_s = 0.2
[[drafters]]
name = "far"
link.rtt_ms = 60.0
workload.closed.think_s = 0.2
"""


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    path = tmp_path / "two_tiers.toml"
    path.write_text(SCENARIO, encoding="utf-8")
    return str(path)


def test_metrics_with_intervals_are_shown(scenario: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", scenario, "--seeds", "3", "--jobs", "1"]) == 0
    shown = capsys.readouterr().out
    assert "two tiers: 3 replications" in shown
    for name in (
        "goodput, all clients",
        "Jain's fairness index",
        "time per output token, p99",
        "near-1",
        "far-0",
    ):
        assert name in shown
    assert "too few answers for MSER-5" in shown


def test_every_file_is_written(scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "deep" / "out"
    assert main(["simulate", scenario, "--seeds", "2", "--jobs", "1", "--output", str(folder), "--trace", "3"]) == 0
    names = {path.name for path in folder.iterdir()}
    assert names == {"answers.csv", "answers.parquet", "summary.json", "report.html", "trace.json"}
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert summary["scenario"]["name"] == "two tiers"
    assert [one["seed"] for one in summary["replications"]] == [0, 1]
    assert set(summary["goodputs"]) == {"near-0", "near-1", "far-0"}
    rows = list(csv.DictReader((folder / "answers.csv").open(encoding="utf-8")))
    assert len(rows) == sum(one["num_answers"] for one in summary["replications"])
    timeline = json.loads((folder / "trace.json").read_text(encoding="utf-8"))["traceEvents"]
    assert {"drafter", "uplink", "verifier", "downlink"} <= {event.get("cat") for event in timeline}
    assert not capsys.readouterr().err.strip(), "no complaint"


def test_worker_processes_give_the_same_results(scenario: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for jobs in ("1", "2"):
        assert main(["simulate", scenario, "--seeds", "2", "--jobs", jobs, "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0]["metrics"] == found[1]["metrics"]
    assert found[0]["replications"] == found[1]["replications"]


def test_until_and_warm_up_are_applied(scenario: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["simulate", scenario, "--seeds", "1", "--jobs", "1", "--json"]
    assert main([*arguments, "--until-s", "4", "--warm-up", "1.5"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["scenario"]["duration_s"] == 4.0
    assert found["replications"][0]["warm_up"] == {"cut_s": 1.5, "source": "given"}


def test_a_precision_that_is_not_reached_exits_with_1(scenario: str, capsys: pytest.CaptureFixture[str]) -> None:
    precision = ["--precision", "goodput=0.01%", "--seeds", "2", "--max-seeds", "3"]
    assert main(["simulate", scenario, "--jobs", "1", *precision]) == 1
    shown = capsys.readouterr().out
    assert "3 replications" in shown
    assert "is not reached" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--warm-up", "mser"], "warm-up is 'mser', expected mser-5 or seconds"),
        (["--precision", "godput=2%"], "did you mean 'goodput'"),
        (["--precision", "goodput=2%", "--max-seeds", "1"], "max_seeds is 1"),
        (["--until-s", "-1"], "until_s is -1.0"),
        (["--trace", "3"], "trace is given without output"),
        (["--seeds", "0"], "seeds is 0, expected 1 or more"),
    ],
)
def test_wrong_flags_are_named(
    scenario: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", scenario, *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_wrong_scenario_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text("durations_s = 5.0\n", encoding="utf-8")
    assert main(["simulate", str(path)]) == 2
    assert "did you mean 'duration_s'" in capsys.readouterr().err

"""`goodspeed awc`: simulations, training and evaluation, each with files of the verb before."""

import json
import os
from pathlib import Path

import pytest
from tests.awc.collections import write_collection

from goodspeed.awc.scenarios import SamplingConfig
from goodspeed.awc.sweep_folder import SweepFolder
from goodspeed.awc.training_set import split
from goodspeed.cli import main
from goodspeed.windows.awc.features import INPUTS

SMALL = SamplingConfig(seed=30, measured_share=0.0, num_rounds=1)
"""Its first scenario takes a moment."""
SMALL_FLAGS = ("--sampling.seed", "30", "--sampling.measured-share", "0", "--sampling.num-rounds", "1")


def collect(folder: Path, *flags: str) -> int:
    return main(["awc", "collect", "--out", str(folder), "--scenarios", "1", "--jobs", "1", *SMALL_FLAGS, *flags])


def test_collect_continues_in_its_folder_and_refuses_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert collect(tmp_path, "--windows", "2", "8") == 0
    folder = SweepFolder(tmp_path)
    record, rows = folder.answers(0), folder.features(0)
    assert record.arms[:3] == ("remote 2", "remote 8", "target_only")
    assert set(record.answer_clients.tolist()) == set(rows.clients.tolist()) == {0, 1, 2}
    windows = set(rows.features[:, INPUTS.index("previous_window")].tolist())
    assert 1 in windows
    assert len(windows) > 4, "the policy was in many states"
    written = {path: os.stat(path).st_mtime_ns for path in tmp_path.rglob("*.npz")}
    next(tmp_path.glob("features/*.npz")).unlink()
    assert collect(tmp_path, "--windows", "2", "8") == 0
    changed = [path for path, at in written.items() if os.stat(path).st_mtime_ns != at]
    assert [path.parent.name for path in changed] == ["features"], "only what is missing is simulated"
    assert (folder.features(0).features == rows.features).all(), "a scenario is a function of its seed and index"
    capsys.readouterr()
    assert collect(tmp_path, "--windows", "2", "4") == 2
    assert "choose another --out" in capsys.readouterr().err


def test_train_and_evaluate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    data, weights = tmp_path / "data", tmp_path / "weights.npz"
    write_collection(data, 30, SMALL)
    split_seed = next(seed for seed in range(100) if 0 in split(range(30), 0.2, seed)[1])
    flags = ["--data", str(data), "--split-seed", str(split_seed)]
    assert main(["awc", "train", *flags, "--out", str(weights), "--schedule.epochs", "20", "--json"]) == 0
    trained = json.loads(capsys.readouterr().out)
    assert trained["error"] < trained["constant_error"]
    jobs = ["--scenarios", "1", "--seeds", "1", "--jobs", "1"]
    assert main(["awc", "evaluate", *flags, "--weights", str(weights), *jobs, "--json"]) == 0
    (outcome,) = json.loads(capsys.readouterr().out)["outcomes"]
    arms = {arm["arm"]: arm for arm in outcome["arms"]}
    assert outcome["index"] == 0
    assert {"static 4", "best static", "oracle static", "target_only", "co_located", "default", "awc"} == set(arms)
    assert arms["target_only"]["poorest"] == 1.0
    assert all(arm["goodput"] > 0.0 for arm in arms.values())


@pytest.mark.parametrize("verb", ["train", "evaluate", "ablate"])
def test_a_folder_without_a_collection_is_an_error(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["awc", verb, "--data", str(tmp_path)]) == 2
    assert "holds no collection" in capsys.readouterr().err

"""`goodspeed tune weight`: every position gets a weight, and answers are unchanged."""

from pathlib import Path

import numpy as np
import pytest
from tests.tuning.toy import TOP_K, VOCAB_SIZE, toy_example

from goodspeed.cli import main
from goodspeed.tuning.data.dataset import Dataset, DatasetInfo

CLIENTS = """
[[clients]]
name = "heavy"
weight = 4.0
kinds = ["toy/heavy"]
[[clients]]
name = "others"
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    dataset = Dataset.open_or_create(
        tmp_path / "data", DatasetInfo("toy", "toy-259", "abc", VOCAB_SIZE, TOP_K, 60, 0, "train")
    )
    dataset.append([toy_example(i, 40, category="heavy" if i % 2 else "light") for i in range(8)])
    (tmp_path / "clients.toml").write_text(CLIENTS)
    return tmp_path / "data"


def run_weight(data: Path, *more: str) -> int:
    files = ["--data", str(data), "--out", str(data.parent / "out"), "--clients", str(data.parent / "clients.toml")]
    return main(["tune", "weight", *files, "--draft.engine", "toy", "--draft.acceptance-rate", "0.6", *more])


def test_answers_of_a_heavier_client_weigh_more_and_are_unchanged(data: Path) -> None:
    assert run_weight(data) == 0
    before = {example.origin.key: example for example in Dataset.open(data).examples()}
    after = list(Dataset.open(data.parent / "out").examples())
    assert {example.origin.key for example in after} == set(before)
    sums = {"heavy": 0.0, "light": 0.0}
    for example in after:
        assert example.weights is not None
        assert example.answer.tolist() == before[example.origin.key].answer.tolist()
        assert example.weights[0] == 0.0
        sums[example.origin.category] += float(example.weights.sum())
    assert 3.0 < sums["heavy"] / sums["light"] < 5.5
    every = np.concatenate([example.weights[1:] for example in after if example.weights is not None])
    assert every.mean() == pytest.approx(1.0, rel=1e-5)


def test_client_without_answers_is_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data.parent / "clients.toml").write_text('[[clients]]\nname = "nobody"\nkinds = ["gsm8k/*"]\n')
    assert run_weight(data) == 2
    assert "'nobody' has no answers" in capsys.readouterr().err
    (data.parent / "clients.toml").write_text("budget = 3\n")
    assert run_weight(data) == 2
    assert "no [[clients]]" in capsys.readouterr().err


def test_former_name_of_the_command_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["tune", "weigh", "--data", "x"])
    assert "'weight'" in capsys.readouterr().err

"""`goodspeed tune weigh`: every position gets its weight, and answers stay what they were."""

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
    dataset = Dataset.begin(tmp_path / "data", DatasetInfo("toy", "toy-259", "abc", VOCAB_SIZE, TOP_K, 60, 0, "train"))
    dataset.append([toy_example(i, 40, category="heavy" if i % 2 else "light") for i in range(8)])
    (tmp_path / "clients.toml").write_text(CLIENTS)
    return tmp_path / "data"


def weigh(data: Path, *more: str) -> int:
    files = ["--data", str(data), "--out", str(data.parent / "out"), "--clients", str(data.parent / "clients.toml")]
    return main(["tune", "weigh", *files, "--draft.engine", "toy", "--draft.acceptance-rate", "0.6", *more])


def test_heavier_client_counts_more_and_answers_stay(data: Path) -> None:
    assert weigh(data) == 0
    before = {one.origin.key: one for one in Dataset.open(data).examples()}
    after = list(Dataset.open(data.parent / "out").examples())
    assert {one.origin.key for one in after} == set(before)
    sums = {"heavy": 0.0, "light": 0.0}
    for one in after:
        assert one.weights is not None
        assert one.answer.tolist() == before[one.origin.key].answer.tolist()
        assert one.weights[0] == 0.0
        sums[one.origin.category] += float(one.weights.sum())
    assert 3.0 < sums["heavy"] / sums["light"] < 5.5
    every = np.concatenate([one.weights[1:] for one in after if one.weights is not None])
    assert every.mean() == pytest.approx(1.0, rel=1e-5)


def test_client_without_answers_is_named(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data.parent / "clients.toml").write_text('[[clients]]\nname = "nobody"\nkinds = ["gsm8k/*"]\n')
    assert weigh(data) == 2
    assert "'nobody' has no answers" in capsys.readouterr().err
    (data.parent / "clients.toml").write_text("budget = 3\n")
    assert weigh(data) == 2
    assert "no [[clients]]" in capsys.readouterr().err

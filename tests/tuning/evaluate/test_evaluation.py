"""`goodspeed tune evaluate` and `tune table` on a data set of the toy target's answers."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.tuning.toy import TOP_K, VOCAB_SIZE, toy_example

from goodspeed.cli import main
from goodspeed.engine.draft_memory import DraftMemory
from goodspeed.engine.drafts import DraftConfig, draft_engine
from goodspeed.errors import ConfigError
from goodspeed.tuning.data.dataset import Dataset, DatasetInfo
from goodspeed.tuning.train.ngram_training import learn_table, shuffled

INFO = DatasetInfo("toy", "toy-259", "abc", VOCAB_SIZE, TOP_K, 60, 0, "test")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    dataset = Dataset.open_or_create(folder, INFO)
    dataset.append([toy_example(i, 40, category=f"kind-{i % 2}") for i in range(8)])
    dataset.append([toy_example(i, 40, 1.0) for i in range(8)])
    return folder


def test_evaluation_reports_quality_replay_and_goodput_of_every_draft(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["tune", "evaluate", "--data", str(data), "--drafts", "toy", "hybrid", "--draft.acceptance-rate", "0.6"]
    files = ["--json", str(tmp_path / "drafts.json"), "--cards", str(tmp_path), "--plot", str(tmp_path / "plot.svg")]
    assert main([*command, "--engine", "toy", *files]) == 0
    toy, hybrid = json.loads((tmp_path / "drafts.json").read_text())["drafts"]
    assert (toy["draft"], hybrid["draft"]) == ("toy", "hybrid")
    kinds = [(quality["temperature"], quality["rule"]) for quality in toy["qualities"]]
    assert kinds == [(0.0, "greedy"), (1.0, "coupled"), (1.0, "rejection")]
    greedy = toy["qualities"][0]
    assert abs(greedy["agreement"]["value"] - 0.6) < 0.1
    assert set(greedy["categories"]) == {"kind-0", "kind-1"}
    assert list(greedy["accepted_per_round"]) == [str(window) for window in range(1, 9)]
    assert greedy["reliability"]["error"] < 0.1
    assert toy["goodput"]["measured"] > 0
    assert 0 < toy["replay"]["accepted_per_round"]["value"] < toy["replay"]["proposed_per_round"]["value"]
    card = (tmp_path / "toy.md").read_text()
    assert "# Draft `toy` for toy" in card
    assert f"{greedy['agreement']['value']:.3f} ± " in card
    assert (tmp_path / "plot.svg").stat().st_size > 1000
    assert "hybrid" in capsys.readouterr().out


def test_categories_outside_the_training_data_get_their_own_row(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Dataset.open_or_create(tmp_path / "train", INFO).append(
        [toy_example(i, 40, category="kind-0") for i in range(20, 22)]
    )
    command = ["tune", "evaluate", "--data", str(data), "--trained-on", str(tmp_path / "train"), "--drafts", "toy"]
    assert main([*command, "--json", str(tmp_path / "drafts.json"), "--cards", str(tmp_path)]) == 0
    (draft,) = json.loads((tmp_path / "drafts.json").read_text())["drafts"]
    greedy = draft["qualities"][0]
    assert greedy["unseen"] == greedy["categories"]["kind-1"]
    assert "unseen (4)" in capsys.readouterr().out
    assert "| categories outside the training data | 4 |" in (tmp_path / "toy.md").read_text()


def test_goodput_is_measured_on_the_embedded_engine(
    data: Path, tmp_path: Path, random_checkpoint: Callable[..., Path]
) -> None:
    target = ["--engine", "torch", "--target.model", str(random_checkpoint("llama")), "--target.dtype", "fp32"]
    command = ["tune", "evaluate", "--data", str(data), "--drafts", "lookup", "--num-prompts", "2", *target]
    assert main([*command, "--json", str(tmp_path / "drafts.json")]) == 0
    (draft,) = json.loads((tmp_path / "drafts.json").read_text())["drafts"]
    found = draft["goodput"]
    assert found["measured"] > 0.0
    assert found["predicted"] > 0.0


def test_evaluation_is_deterministic(data: Path, tmp_path: Path) -> None:
    found = []
    for name in ("one.json", "two.json"):
        main(["tune", "evaluate", "--data", str(data), "--drafts", "hybrid", "--json", str(tmp_path / name)])
        (draft,) = json.loads((tmp_path / name).read_text())["drafts"]
        found.append(draft["qualities"])
    assert found[0] == found[1]


def test_drafts_start_from_a_trained_table(data: Path, tmp_path: Path) -> None:
    """The toy's next token is a function of the last four, so a trained table drafts most tokens."""
    out = str(tmp_path / "toy.table.npz")
    assert main(["tune", "table", str(data), "--out", out, "--draft.table-slots", "16384"]) == 0
    memory = DraftMemory.load(Path(out), VOCAB_SIZE)
    assert memory.tokenizer == "abc"
    assert list(memory.calibrations) == ["table", "hybrid"]
    command = ["tune", "evaluate", "--data", str(data), "--drafts", "table", "--json"]
    main([*command, str(tmp_path / "cold.json")])
    main([*command, str(tmp_path / "warm.json"), "--draft.table", out])
    cold, warm = (_agreement(tmp_path / name) for name in ("cold.json", "warm.json"))
    assert cold < 0.4
    assert warm > 0.75


def _agreement(path: Path) -> float:
    (draft,) = json.loads(path.read_text())["drafts"]
    value: float = draft["qualities"][0]["agreement"]["value"]
    return value


def test_table_has_no_more_than_its_slots() -> None:
    answers = shuffled([toy_example(i, 60) for i in range(8)])
    memory = learn_table([DraftConfig(engine="table", table_slots=64)], answers, (VOCAB_SIZE, "abc"))
    assert memory.table.num_slots == 64
    assert memory.table.num_used <= 64


def test_draft_without_a_table_is_refused() -> None:
    with pytest.raises(ConfigError, match="toy has no table"):
        learn_table([DraftConfig(engine="toy")], shuffled([toy_example(0, 4)]), (VOCAB_SIZE, "abc"))


def test_calibration_is_stored_with_the_table(data: Path, tmp_path: Path) -> None:
    memory = learn_table(
        [DraftConfig(engine="hybrid")], shuffled(list(Dataset.open(data).examples())), (VOCAB_SIZE, "abc")
    )
    memory.save(tmp_path / "toy.npz")
    config = DraftConfig(engine="hybrid", table=str(tmp_path / "toy.npz"))
    engine = draft_engine(config, VOCAB_SIZE, "abc")
    assert len(engine.calibration) == len(memory.calibrations["hybrid"]) > 10  # type: ignore[attr-defined]


@pytest.mark.parametrize("arguments", [["evaluate"], ["evaluate", "--data", "x", "--streams", "0"], ["table", "x"]])
def test_wrong_arguments_are_an_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", *arguments]) == 2
    assert "expected" in capsys.readouterr().err

"""Distillation learns and validates, and an interrupted run reaches the same result."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from goodspeed.decoding.draft import DraftRequest
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.drafts import DraftConfig, draft_engine
from goodspeed.errors import ConfigError, DataError
from goodspeed.models.checkpoint import read_config, read_weights
from goodspeed.models.draft_vocab import read_draft_vocab
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.tuning.data.dataset import Dataset, DatasetInfo
from goodspeed.tuning.data.example import Example, Origin
from goodspeed.tuning.train.distiller import Distiller
from goodspeed.tuning.train.learning_curve import CurvePoint
from goodspeed.tuning.train.schedule import learning_rate
from goodspeed.tuning.tuning_config import DistilConfig, StudentConfig

Checkpoints = Callable[..., Path]
TOP = 4


@pytest.fixture(scope="module")
def target(random_checkpoint: Checkpoints) -> Path:
    return random_checkpoint("llama", num_hidden_layers=3)


@pytest.fixture(scope="module")
def data(target: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Answers that count upwards from the prompt's last token, which are easy to learn."""
    folder = tmp_path_factory.mktemp("data")
    dataset = Dataset(folder, DatasetInfo("tiny", "m", Tokenizer.load(target).fingerprint, 320, TOP, 30, 0, "train"))
    dataset.append([counting(i) for i in range(40)])
    return folder


def counting(number: int) -> Example:
    rng = np.random.default_rng(number)
    first = int(rng.integers(10, 60))
    answer = np.arange(first + 1, first + 21, dtype=np.int32)
    top_tokens = np.stack([answer, *rng.integers(200, 320, (TOP - 1, 20), dtype=np.int32)], 1)
    logprobs = np.log(np.tile(np.array([0.85, 0.05, 0.05, 0.05], np.float32), (20, 1))).astype(np.float16)
    weights = np.linspace(1, 0.1, 20, dtype=np.float32)
    return Example(
        Origin(f"c#{number}", "c", ""), np.array([5, first], np.int32), answer, top_tokens, logprobs, weights
    )


@pytest.fixture
def config(target: Path, data: Path, tmp_path: Path) -> DistilConfig:
    return DistilConfig(
        data=str(data),
        validation=str(data),
        out=str(tmp_path / "run"),
        target=str(target),
        student=StudentConfig(layers=(0, 2), vocabulary=96),
        top_k=TOP,
        steps=12,
        warmup=2,
        learning_rate=5e-3,
        length=64,
        max_prompt=8,
        rows=2,
        validate_every=4,
        validation_answers=8,
        checkpoint_every=4,
        dtype="fp32",
        device="cpu",
        threads=1,
    )


class KilledError(Exception):
    """Interrupts a run."""


def ignore(_step: int) -> None:
    return


def curve_of(config: DistilConfig) -> list[CurvePoint]:
    points: list[CurvePoint] = []
    distiller = Distiller(config)
    distiller.run(points.append, ignore)
    distiller.export()
    return points


def kill_at(step: int) -> Callable[[int], None]:
    def on_step(current: int) -> None:
        if current == step:
            raise KilledError

    return on_step


def test_student_learns_and_its_checkpoint_drafts(config: DistilConfig) -> None:
    points = curve_of(replace(config, steps=60, validate_every=20))
    assert points[-1].loss < points[0].loss
    assert points[-1].agreement > 0.8
    assert points[-1].accepted_per_round > 2.5
    engine = draft_engine(
        DraftConfig(engine="torch", model=config.out, dtype="fp32", device="cpu", kv_memory_mb=8), 320
    )
    known = counting(3)
    engine.open(1, known.prompt.tolist(), Sampling())
    assert engine.draft([DraftRequest(1, 4)])[0].tokens == tuple(known.answer[:4].tolist())


@pytest.mark.parametrize(("dtype", "on_policy"), [("fp32", 0.0), ("bf16", 0.0), ("fp32", 0.6)])
def test_interrupted_run_reaches_bitwise_the_same_weights(
    config: DistilConfig, tmp_path: Path, dtype: str, on_policy: float
) -> None:
    config = replace(config, dtype=dtype, accumulate=2, on_policy=on_policy, on_policy_every=3, on_policy_answers=6)
    uninterrupted = replace(config, out=str(tmp_path / "uninterrupted"))
    expected = curve_of(uninterrupted)
    for step in (3, 7):  # the first before a state is saved
        with pytest.raises(KilledError):
            Distiller(config).run(lambda _look: None, kill_at(step))
    found = curve_of(config)
    assert [replace(point, elapsed_s=0.0) for point in found] == [
        replace(point, elapsed_s=0.0) for point in expected[-2:]
    ]
    weights = read_weights(Path(config.out))
    for name, tensor in read_weights(Path(uninterrupted.out)).items():
        assert torch.equal(weights[name], tensor), name
    with (Path(config.out) / "curve.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["4", "8", "12"]


def test_resuming_with_other_settings_is_refused(config: DistilConfig) -> None:
    curve_of(replace(config, steps=4))
    with pytest.raises(DataError, match=r"is a run with learning_rate 0\.005, this run has 0\.1"):
        Distiller(replace(config, learning_rate=0.1))
    points = curve_of(config)
    assert [point.step for point in points] == [8, 12]


def test_on_policy_answers_are_stored_and_trained_on(config: DistilConfig) -> None:
    curve_of(replace(config, on_policy=0.5, on_policy_every=6, on_policy_answers=5, on_policy_tokens=7))
    folders = sorted((Path(config.out) / "on_policy").iterdir())
    assert [folder.name for folder in folders] == ["0", "6"]
    first, second = ([example.answer.tolist() for example in Dataset.open(folder).examples()] for folder in folders)
    assert len(first) == len(second) == 5
    assert first != second
    assert max(map(len, first)) <= 7


def test_training_stops_without_improvement(config: DistilConfig) -> None:
    points = curve_of(replace(config, learning_rate=1e-9, patience=2, steps=100))
    assert [point.step for point in points] == [4, 8, 12]


@pytest.mark.parametrize("loss", ["forward_kl", "reverse_kl", "total_variation", "likeliest"])
def test_every_loss_raises_acceptance(config: DistilConfig, loss: str) -> None:
    points = curve_of(replace(config, loss=loss, steps=40, validate_every=1, checkpoint_every=40))
    assert points[-1].expected_acceptance > points[0].expected_acceptance + 0.2


def test_stored_weights_change_the_loss(config: DistilConfig, tmp_path: Path) -> None:
    uniform = curve_of(config)
    stored = curve_of(replace(config, out=str(tmp_path / "stored"), weights="stored"))
    assert uniform[-1].loss != stored[-1].loss


def test_lora_adapters_learn(config: DistilConfig) -> None:
    student = StudentConfig(layers=(0, 2), vocabulary=96, train_head=False, lora_rank=8)
    points = curve_of(replace(config, student=student, steps=60, validate_every=20, learning_rate=2e-2))
    assert points[-1].accepted_per_round > points[0].accepted_per_round


def test_student_starts_from_random_weights_or_from_a_checkpoint(config: DistilConfig, tmp_path: Path) -> None:
    fresh = replace(config, student=StudentConfig(init="fresh", hidden_size=64, intermediate_size=96, num_layers=1))
    assert curve_of(fresh)[-1].step == 12
    shrunk = replace(config, out=str(tmp_path / "first"))
    curve_of(shrunk)
    on_top = replace(config, out=str(tmp_path / "second"), student=StudentConfig(init=shrunk.out), warmup=0)
    second = Distiller(on_top)
    assert second.student.draft_vocab is not None
    assert len(second.student.draft_vocab) == 96


def test_smaller_student_of_a_checkpoint_keeps_a_subset_of_its_tokens_and_units(
    config: DistilConfig, tmp_path: Path
) -> None:
    large = replace(config, out=str(tmp_path / "large"))
    curve_of(large)
    student = StudentConfig(init=large.out, vocabulary=40, mlp_width=48)
    small = replace(config, student=student, steps=40, validate_every=40)
    assert curve_of(small)[-1].agreement > 0.5
    assert read_config(Path(small.out)).intermediate_size == 48
    draft_vocab, known = (read_draft_vocab(Path(folder), 320) for folder in (small.out, large.out))
    assert draft_vocab is not None
    assert known is not None
    assert len(draft_vocab) == 40
    assert set(draft_vocab) < set(known)
    with pytest.raises(ConfigError, match="vocabulary is 97, the target or checkpoint has 96 tokens"):
        Distiller(replace(config, out=str(tmp_path / "third"), student=replace(student, vocabulary=97)))


def test_learning_rate_rises_stays_and_falls(config: DistilConfig) -> None:
    rates = [learning_rate(replace(config, steps=100, warmup=10, decay=20), step) for step in range(100)]
    assert rates[0] == pytest.approx(5e-4)
    assert rates[10:80] == [5e-3] * 70
    assert rates[80:] == sorted(rates[80:], reverse=True)
    assert rates[-1] < 5e-5


def test_data_of_another_tokenizer_are_refused(config: DistilConfig, tmp_path: Path) -> None:
    Dataset(tmp_path / "other", DatasetInfo("huge", "m", "other", 320, TOP, 30, 0, "train")).append([counting(0)])
    with pytest.raises(DataError, match="has tokens of tokenizer other"):
        Distiller(replace(config, data=str(tmp_path / "other")))


def test_damaged_state_is_refused(config: DistilConfig) -> None:
    curve_of(config)
    path = Path(config.out) / "state.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"cannot read .*state\.safetensors"):
        Distiller(config)


@pytest.mark.parametrize(
    "values", [{"data": ""}, {"rows": 0}, {"weights": "some"}, {"max_prompt": 64}, {"likeliest_share": 1.5}]
)
def test_invalid_config_is_refused(config: DistilConfig, values: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        replace(config, **values)  # type: ignore[arg-type]


def test_unknown_layers_and_losses_are_refused(config: DistilConfig) -> None:
    with pytest.raises(ConfigError, match=r"layers are \(0, 7\), the target has 3"):
        Distiller(replace(config, student=StudentConfig(layers=(0, 7))))
    with pytest.raises(ConfigError, match="loss is 'kl', expected one of forward_kl, reverse_kl"):
        Distiller(replace(config, loss="kl"))

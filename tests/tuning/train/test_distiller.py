"""Distillation learns, watches itself, and a run that was killed comes to the same end."""

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
    """Answers that count upwards from the prompt's last token: easily learned."""
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
    """What ends a run in its middle."""


def ignore(_step: int) -> None:
    return


def looks_of(config: DistilConfig) -> list[CurvePoint]:
    looks: list[CurvePoint] = []
    distiller = Distiller(config)
    distiller.run(looks.append, ignore)
    distiller.export()
    return looks


def kill_at(step: int) -> Callable[[int], None]:
    def on_step(now: int) -> None:
        if now == step:
            raise KilledError

    return on_step


def test_student_learns_and_its_checkpoint_drafts_what_it_learned(config: DistilConfig) -> None:
    looks = looks_of(replace(config, steps=60, validate_every=20))
    assert looks[-1].loss < looks[0].loss
    assert looks[-1].agreement > 0.8
    assert looks[-1].accepted_per_round > 2.5
    engine = draft_engine(
        DraftConfig(engine="torch", model=config.out, dtype="fp32", device="cpu", kv_memory_mb=8), 320
    )
    known = counting(3)
    engine.open(1, known.prompt.tolist(), Sampling())
    assert engine.draft([DraftRequest(1, 4)])[0].tokens == tuple(known.answer[:4].tolist())


@pytest.mark.parametrize(("dtype", "on_policy"), [("fp32", 0.0), ("bf16", 0.0), ("fp32", 0.6)])
def test_killed_run_comes_to_the_same_end_to_the_bit(
    config: DistilConfig, tmp_path: Path, dtype: str, on_policy: float
) -> None:
    config = replace(config, dtype=dtype, accumulate=2, on_policy=on_policy, on_policy_every=3, on_policy_answers=6)
    whole = replace(config, out=str(tmp_path / "whole"))
    expected = looks_of(whole)
    for step in (3, 7):  # the first before there is any state
        with pytest.raises(KilledError):
            Distiller(config).run(lambda _look: None, kill_at(step))
    found = looks_of(config)
    assert [replace(look, elapsed_s=0.0) for look in found] == [replace(one, elapsed_s=0.0) for one in expected[-2:]]
    weights = read_weights(Path(config.out))
    for name, tensor in read_weights(Path(whole.out)).items():
        assert torch.equal(weights[name], tensor), name
    with (Path(config.out) / "curve.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["4", "8", "12"]


def test_run_of_other_settings_may_not_go_on_there(config: DistilConfig) -> None:
    looks_of(replace(config, steps=4))
    with pytest.raises(DataError, match=r"is a run with learning_rate 0\.005, this one has 0\.1"):
        Distiller(replace(config, learning_rate=0.1))
    looks = looks_of(config)
    assert [look.step for look in looks] == [8, 12]


def test_student_learns_from_its_own_answers_as_the_target_judges_them(config: DistilConfig) -> None:
    looks_of(replace(config, on_policy=0.5, on_policy_every=6, on_policy_answers=5, on_policy_tokens=7))
    folders = sorted((Path(config.out) / "on_policy").iterdir())
    assert [folder.name for folder in folders] == ["0", "6"]
    first, second = ([one.answer.tolist() for one in Dataset.open(folder).examples()] for folder in folders)
    assert len(first) == len(second) == 5
    assert first != second
    assert max(map(len, first)) <= 7


def test_it_stops_when_it_gets_no_better(config: DistilConfig) -> None:
    looks = looks_of(replace(config, learning_rate=1e-9, patience=2, steps=100))
    assert [look.step for look in looks] == [4, 8, 12]


@pytest.mark.parametrize("loss", ["forward_kl", "reverse_kl", "total_variation", "likeliest"])
def test_every_loss_raises_acceptance(config: DistilConfig, loss: str) -> None:
    looks = looks_of(replace(config, loss=loss, steps=40, validate_every=1, checkpoint_every=40))
    assert looks[-1].expected_acceptance > looks[0].expected_acceptance + 0.2


def test_stored_weights_change_what_is_learned(config: DistilConfig, tmp_path: Path) -> None:
    uniform = looks_of(config)
    stored = looks_of(replace(config, out=str(tmp_path / "stored"), weights="stored"))
    assert uniform[-1].loss != stored[-1].loss


def test_thin_additions_learn(config: DistilConfig) -> None:
    student = StudentConfig(layers=(0, 2), vocabulary=96, train_head=False, lora_rank=8)
    looks = looks_of(replace(config, student=student, steps=60, validate_every=20, learning_rate=2e-2))
    assert looks[-1].accepted_per_round > looks[0].accepted_per_round


def test_fresh_student_and_checkpoint_of_another_run_learn(config: DistilConfig, tmp_path: Path) -> None:
    fresh = replace(config, student=StudentConfig(init="fresh", hidden_size=64, intermediate_size=96, num_layers=1))
    assert looks_of(fresh)[-1].step == 12
    shrunk = replace(config, out=str(tmp_path / "first"))
    looks_of(shrunk)
    on_top = replace(config, out=str(tmp_path / "second"), student=StudentConfig(init=shrunk.out), warmup=0)
    second = Distiller(on_top)
    assert second.student.kept is not None
    assert len(second.student.kept) == 96


def test_smaller_student_of_a_checkpoint_keeps_only_tokens_and_units_that_it_has(
    config: DistilConfig, tmp_path: Path
) -> None:
    large = replace(config, out=str(tmp_path / "large"))
    looks_of(large)
    student = StudentConfig(init=large.out, vocabulary=40, mlp_width=48)
    small = replace(config, student=student, steps=40, validate_every=40)
    assert looks_of(small)[-1].agreement > 0.5
    assert read_config(Path(small.out)).intermediate_size == 48
    kept, known = (read_draft_vocab(Path(folder), 320) for folder in (small.out, large.out))
    assert kept is not None
    assert known is not None
    assert len(kept) == 40
    assert set(kept) < set(known)
    with pytest.raises(ConfigError, match="vocabulary is 97, the target or checkpoint has 96 tokens"):
        Distiller(replace(config, out=str(tmp_path / "third"), student=replace(student, vocabulary=97)))


def test_rate_rises_stays_and_falls(config: DistilConfig) -> None:
    rates = [learning_rate(replace(config, steps=100, warmup=10, decay=20), step) for step in range(100)]
    assert rates[0] == pytest.approx(5e-4)
    assert rates[10:80] == [5e-3] * 70
    assert rates[80:] == sorted(rates[80:], reverse=True)
    assert rates[-1] < 5e-5


def test_data_of_another_tokenizer_are_refused(config: DistilConfig, tmp_path: Path) -> None:
    Dataset(tmp_path / "other", DatasetInfo("huge", "m", "other", 320, TOP, 30, 0, "train")).append([counting(0)])
    with pytest.raises(DataError, match="has tokens of tokenizer other"):
        Distiller(replace(config, data=str(tmp_path / "other")))


def test_state_that_is_damaged_is_named(config: DistilConfig) -> None:
    looks_of(config)
    path = Path(config.out) / "state.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"cannot read .*state\.safetensors"):
        Distiller(config)


@pytest.mark.parametrize(
    "values", [{"data": ""}, {"rows": 0}, {"weights": "some"}, {"max_prompt": 64}, {"likeliest_share": 1.5}]
)
def test_config_that_cannot_be_is_refused(config: DistilConfig, values: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        replace(config, **values)  # type: ignore[arg-type]


def test_unknown_layers_and_losses_are_named(config: DistilConfig) -> None:
    with pytest.raises(ConfigError, match=r"layers are \(0, 7\), the target has 3"):
        Distiller(replace(config, student=StudentConfig(layers=(0, 7))))
    with pytest.raises(ConfigError, match="loss is 'kl', expected one of forward_kl, reverse_kl"):
        Distiller(replace(config, loss="kl"))

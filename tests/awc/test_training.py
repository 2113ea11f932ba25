"""Training on collections whose best window is known."""

from pathlib import Path

import numpy as np
import pytest
from tests.awc.collections import record, write_collection

from goodspeed.awc.sweep_record import read_record
from goodspeed.awc.training import Training
from goodspeed.awc.training_config import ScheduleConfig, TrainConfig
from goodspeed.awc.training_set import split
from goodspeed.errors import ConfigError
from goodspeed.windows.awc.features import HISTORY, INPUTS
from goodspeed.windows.awc.network import AwcNetwork

torch = pytest.importorskip("torch")

SCHEDULE = ScheduleConfig(epochs=30, batch=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("collection")
    write_collection(path, 80)
    return path


@pytest.fixture(scope="module")
def training(folder: Path) -> Training:
    return Training(TrainConfig(data=str(folder)))


def vector(network: AwcNetwork, **inputs: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """The network's input for one state, seen three times."""
    known = {"queue_utilisation": 0.5, "recent_acceptance": 0.2, "rtt_s": 0.01, "tpot_s": 0.02, "previous_window": 4.0}
    values = [{**known, **inputs}[name] for name in INPUTS]
    scaling = network.manifest.scaling
    scaled = (np.array(values) - scaling.offsets) / scaling.scales
    return np.tile(scaled, HISTORY).astype(np.float32)


def test_network_learns_the_best_window(training: Training) -> None:
    outcome = training.run(SCHEDULE, lambda _: None)
    network = outcome.network
    assert outcome.error < 0.5 < outcome.constant_error
    assert network.window(vector(network, recent_acceptance=0.8)) == pytest.approx(8.0, abs=1.0)
    assert network.window(vector(network, recent_acceptance=0.2)) == pytest.approx(2.0, abs=1.0)
    assert network.window(vector(network, recent_acceptance=0.8, rtt_s=0.1)) == pytest.approx(1.0, abs=1.0)


def test_network_without_an_input_does_not_depend_on_it(training: Training) -> None:
    network = training.run(ScheduleConfig(epochs=30, batch=64, without="rtt_s"), lambda _: None).network
    near, far = (network.window(vector(network, recent_acceptance=0.8, rtt_s=rtt_s)) for rtt_s in (0.01, 0.1))
    assert near == far


def test_the_same_seed_gives_the_same_weights_and_the_file_keeps_them(training: Training, tmp_path: Path) -> None:
    schedule = ScheduleConfig(epochs=2, batch=64)
    first, second = (training.run(schedule, lambda _: None).network for _ in range(2))
    other = training.run(ScheduleConfig(epochs=2, batch=64, seed=1), lambda _: None).network
    first.save(tmp_path / "weights.npz")
    loaded = AwcNetwork.load(tmp_path / "weights.npz")
    assert all(np.array_equal(second.weights[name], weights) for name, weights in loaded.weights.items())
    assert not np.array_equal(other.weights["input.weight"], loaded.weights["input.weight"])
    assert "scenarios of seed 0" in loaded.manifest.training_set


def test_numpy_network_computes_what_torch_has_trained() -> None:
    from goodspeed.awc.network_training import ResidualMlp  # noqa: PLC0415 - needs torch
    from goodspeed.windows.awc.features import InputScaling  # noqa: PLC0415
    from goodspeed.windows.awc.network import AwcManifest  # noqa: PLC0415

    torch.manual_seed(0)
    trained = ResidualMlp(32)
    network = AwcNetwork(AwcManifest(InputScaling(), "", "", ""), trained.weights())
    vectors = np.random.default_rng(0).standard_normal((50, HISTORY * len(INPUTS))).astype(np.float32)
    with torch.inference_mode():
        expected = trained(torch.from_numpy(vectors)).numpy()
    assert [network.window(each) for each in vectors] == pytest.approx(expected.tolist(), abs=1e-5)


def test_a_scenario_stays_on_its_side_when_the_folder_grows() -> None:
    few, many = split(range(50), 0.2, 0), split(range(500), 0.2, 0)
    assert set(few[0]) <= set(many[0])
    assert set(few[1]) <= set(many[1])
    assert not set(many[0]) & set(many[1])
    assert 60 < len(many[1]) < 140


def test_a_missing_or_small_collection_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no collection"):
        Training(TrainConfig(data=str(tmp_path / "nothing")))
    write_collection(tmp_path / "small", 5)
    with pytest.raises(ConfigError, match="expected at least 10 and 1"):
        Training(TrainConfig(data=str(tmp_path / "small")))


def test_a_truncated_record_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "000000.npz"
    content = record({"remote 2": [10.0]}).to_bytes()
    path.write_bytes(content)
    assert read_record(path).arms == ("remote 2",)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ConfigError, match="is not a record"):
        read_record(path)

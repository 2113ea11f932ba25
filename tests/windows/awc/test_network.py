"""The network computes what its definition says; a file that does not fit is one clear error."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from msgspec.structs import replace

from goodspeed.errors import ConfigError
from goodspeed.testing.awc_network import linear_network, manifest, random_network
from goodspeed.windows.awc.features import NUM_FEATURES, InputScaling
from goodspeed.windows.awc.network import PACKAGED, AwcManifest, AwcNetwork, load_network, shapes

Arrays = dict[str, npt.NDArray[np.float32]]


def silu(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return values / (1.0 + np.exp(-values))


@pytest.mark.parametrize("hidden", [1, 4, 32])
def test_window_is_that_of_two_residual_blocks_with_silu(hidden: int) -> None:
    network = random_network(seed=hidden, hidden=hidden)
    w = {name: array.astype(np.float64) for name, array in network.weights.items()}
    for vector in np.random.default_rng(0).normal(size=(20, NUM_FEATURES)).astype(np.float32) * 3:
        x = w["input.weight"] @ vector + w["input.bias"]
        for i in range(2):
            z = silu(w[f"block{i}.weight0"] @ x + w[f"block{i}.bias0"])
            x = x + w[f"block{i}.weight1"] @ z + w[f"block{i}.bias1"]
        assert network.window(vector) == pytest.approx(float(w["output.weight"] @ x + w["output.bias"][0]), abs=1e-4)


def test_large_inputs_give_a_finite_window_without_a_warning() -> None:
    with np.errstate(all="raise"):
        for sign in (-1e6, 1e6):
            assert np.isfinite(random_network(1).window(np.full(NUM_FEATURES, sign, np.float32)))


def test_a_network_survives_its_file(tmp_path: Path) -> None:
    network = random_network(2)
    network.save(tmp_path / "weights.npz")
    loaded = AwcNetwork.load(tmp_path / "weights.npz")
    assert loaded.manifest == network.manifest
    vector = np.ones(NUM_FEATURES, np.float32)
    assert loaded.window(vector) == network.window(vector)


def test_drafters_share_a_network_until_its_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    linear_network(3.0).save(path)
    first = load_network(str(path))
    assert load_network(str(path)) is first
    path.unlink()
    linear_network(5.0).save(path)
    assert load_network(str(path)).window(np.zeros(NUM_FEATURES, np.float32)) == 5.0


def written(path: Path, manifest_json: str | None, **changed: npt.NDArray[np.generic] | None) -> Path:
    """A file of a good network with these changes; None: without the array."""
    network = linear_network(4.0)
    arrays: dict[str, object] = {**network.weights, "manifest": np.array(manifest_json or to_json(network.manifest))}
    arrays |= {name.replace("__", "."): array for name, array in changed.items()}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})  # type: ignore[arg-type]
    return path


def to_json(content: AwcManifest) -> str:
    return msgspec.json.encode(content).decode()


GOOD = manifest()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (replace(GOOD, format=2), "format is 2, expected 1"),
        (replace(GOOD, inputs=GOOD.inputs[::-1]), "inputs are previous_window, tpot_s, .* expected queue_utilisation"),
        (replace(GOOD, history=2), "with 2 decisions, expected .* with 3 decisions"),
        (replace(GOOD, hidden=32), r"input.weight is float32 \[4, 15\], expected float32 \[32, 15\]"),
        (replace(GOOD, hidden=0), "hidden is 0, expected 1 to 1024"),
        (replace(GOOD, hidden=10**12), "hidden is 1000000000000, expected 1 to 1024"),
        (replace(GOOD, scaling=InputScaling(scales=(1.0, 1.0, 0.0, 1.0, 1.0))), "scaling.scales is .* no scale of 0"),
        (replace(GOOD, scaling=InputScaling(offsets=(1.0,))), r"scaling.offsets is \[1.0\], expected 5 finite numbers"),
    ],
)
def test_a_manifest_that_does_not_fit_is_named(tmp_path: Path, wrong: AwcManifest, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AwcNetwork.load(written(tmp_path / "weights.npz", to_json(wrong)))


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 1}', '{"scaling": {"scales": ["a"]}}'])
def test_a_manifest_that_is_none_is_an_error(tmp_path: Path, content: str) -> None:
    with pytest.raises(ConfigError, match=r"weights\.npz: "):
        AwcNetwork.load(written(tmp_path / "weights.npz", content))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"manifest": None}, "has no manifest"),
        ({"output__bias": None}, "weights are .*, expected .*output.bias"),
        ({"block2__bias0": np.zeros(4, np.float32)}, "weights are .*block2.bias0"),
        ({"block0__weight1": np.zeros((4, 5), np.float32)}, r"block0.weight1 is float32 \[4, 5\]"),
        ({"block0__bias0": np.zeros(4, np.float64)}, r"block0.bias0 is float64 \[4\], expected float32 \[4\]"),
        ({"output__weight": np.full(4, np.nan, np.float32)}, "output.weight has values that are not finite"),
        ({"input__bias": np.full(4, np.inf, np.float32)}, "input.bias has values that are not finite"),
        ({"output__bias": np.array([None])}, "cannot read"),
    ],
)
def test_weights_that_do_not_fit_are_named(
    tmp_path: Path, changed: dict[str, npt.NDArray[np.generic] | None], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        AwcNetwork.load(written(tmp_path / "weights.npz", None, **changed))


def truncated(whole: bytes) -> bytes:
    return whole[: len(whole) // 2]


def changed(whole: bytes) -> bytes:
    """Another weight, which the checksum of the array does not fit."""
    assert np.float32(4.0).tobytes() in whole
    return whole.replace(np.float32(4.0).tobytes(), np.float32(5.0).tobytes())


@pytest.mark.parametrize(
    "damage", [truncated, changed, lambda _: b"", lambda _: b"text\n" * 99, lambda _: b"PK\3\4" * 9]
)
def test_a_damaged_file_is_an_error(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = written(tmp_path / "weights.npz", None)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ConfigError, match=r"weights\.npz"):
        AwcNetwork.load(path)


def test_an_array_alone_is_no_network(tmp_path: Path) -> None:
    np.save(tmp_path / "weights.npy", np.zeros(4, np.float32))
    with pytest.raises(ConfigError, match=r"cannot read .*expected weights of `goodspeed awc train`"):
        AwcNetwork.load(tmp_path / "weights.npy")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the weights of the window policy awc, .*none\.npz"):
        load_network(str(tmp_path / "none.npz"))
    with pytest.raises(ConfigError, match="cannot read the weights"):
        load_network(str(tmp_path / "folder" / "x"))


def test_packaged_weights_fit_if_they_are_there() -> None:
    if PACKAGED.exists():
        assert load_network("").manifest.hidden == shapes(load_network("").manifest.hidden)["input.bias"][0]
    else:
        with pytest.raises(ConfigError, match=r"awc_weights\.npz.*window\.awc\.weights names another file"):
            load_network("")

"""AWC's network (WC-DNN) and its file: weights in an .npz, with a manifest that says what they are for."""

import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from goodspeed.errors import ConfigError
from goodspeed.windows.awc.features import HISTORY, INPUTS, NUM_FEATURES, InputScaling

FORMAT: Final = 1
HIDDEN: Final = 32
"""Hidden width of the shipped network. The paper does not give its own; DSD's public code has 32."""
NUM_BLOCKS: Final = 2
PACKAGED: Final = Path(__file__).parents[1] / "awc_weights.npz"

Floats = npt.NDArray[np.float32]


class AwcManifest(Struct, frozen=True):
    """What the weights are for, and where they come from."""

    scaling: InputScaling
    training_set: str
    commit: str
    """Of the source that has trained them."""
    label_score: str
    """What the labels maximise."""
    format: int = FORMAT
    inputs: tuple[str, ...] = INPUTS
    history: int = HISTORY
    hidden: int = HIDDEN


class AwcNetwork:
    """A residual network of two blocks with SiLU: x = W v + b; twice x = x + B SiLU(A x + a) + b; window = w x + c.

    DSD (arXiv 2511.21669) names the blocks and "a smooth activation"; depth and residuals are the paper's, the
    placement of the activation is that of its public code.
    """

    def __init__(self, manifest: AwcManifest, weights: Mapping[str, Floats]) -> None:
        """`weights`: float32 arrays with the names and shapes of `shapes`. Raises ConfigError if they do not fit."""
        _check(manifest, weights)
        self.manifest = manifest
        self.weights = {name: np.ascontiguousarray(weights[name], np.float32) for name in shapes(manifest.hidden)}
        block_names = [[f"block{i}.{part}" for part in ("weight0", "bias0", "weight1", "bias1")] for i in range(2)]
        blocks = [[self.weights[name] for name in names] for names in block_names]
        # SiLU(z) = z / (1 + exp(-z)) = y + y tanh(y) with y = z / 2, which cannot overflow.
        self._blocks = [(weight0 / 2, bias0 / 2, weight1, bias1) for weight0, bias0, weight1, bias1 in blocks]
        self._input = self.weights["input.weight"], self.weights["input.bias"]
        self._output = self.weights["output.weight"], float(self.weights["output.bias"][0])

    @classmethod
    def load(cls, path: Path) -> "AwcNetwork":
        """The network in a file of save(). Raises ConfigError if it cannot be read or does not fit."""
        arrays = _read(path)
        try:
            manifest = msgspec.json.decode(str(arrays.pop("manifest")), type=AwcManifest)
            return cls(manifest, arrays)
        except KeyError:
            raise ConfigError(f"{path} has no manifest, expected weights of `goodspeed awc train`") from None
        except (msgspec.DecodeError, ConfigError) as error:
            raise ConfigError(f"{path}: {error}") from error

    def save(self, path: Path) -> None:
        """Write the file. Raises ConfigError if it cannot be written."""
        manifest = np.array(msgspec.json.encode(self.manifest).decode())
        try:
            with path.open("wb") as file:
                np.savez(file, allow_pickle=False, manifest=manifest, **self.weights)
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error}") from error

    def window(
        self,
        vector: Floats,  # [15] float32, of AwcFeatures
    ) -> float:
        """The window, before clamping and smoothing."""
        weight, bias = self._input
        hidden = weight.dot(vector)
        hidden += bias
        for weight0, bias0, weight1, bias1 in self._blocks:
            half = weight0.dot(hidden)
            half += bias0
            activation = np.tanh(half)
            activation *= half
            activation += half
            hidden += weight1.dot(activation)
            hidden += bias1
        weight, constant = self._output
        return float(weight.dot(hidden)) + constant


def shapes(hidden: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights; matrices are [outputs, inputs]."""
    block = {"weight0": (hidden, hidden), "bias0": (hidden,), "weight1": (hidden, hidden), "bias1": (hidden,)}
    blocks = {f"block{i}.{name}": shape for i in range(NUM_BLOCKS) for name, shape in block.items()}
    ends = {"input.weight": (hidden, NUM_FEATURES), "input.bias": (hidden,), "output.weight": (hidden,)}
    return {**ends, **blocks, "output.bias": (1,)}


def load_network(weights: str) -> AwcNetwork:
    """The network in this file, or the packaged one if the name is empty. Raises ConfigError.

    Drafters of one process share it, as long as the file does not change.
    """
    path = Path(weights) if weights else PACKAGED
    try:
        changed_ns = path.stat().st_mtime_ns
    except OSError as error:
        hint = "" if weights else "; window.awc.weights names another file"
        raise ConfigError(
            f"cannot read the weights of the window policy awc, {path}: {error.strerror}{hint}"
        ) from error
    return _load(path, changed_ns)


@lru_cache(maxsize=4)
def _load(path: Path, changed_ns: int) -> AwcNetwork:  # noqa: ARG001 (a part of the cache's key)
    return AwcNetwork.load(path)


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file.items())
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError, AttributeError, TypeError) as error:
        raise ConfigError(f"cannot read {path}, expected weights of `goodspeed awc train`: {error}") from error


def _check(manifest: AwcManifest, weights: Mapping[str, Floats]) -> None:
    """Raises ConfigError with what does not fit."""
    if manifest.format != FORMAT:
        raise ConfigError(f"format is {manifest.format}, expected {FORMAT}")
    if (manifest.inputs, manifest.history) != (INPUTS, HISTORY):
        found = f"{', '.join(manifest.inputs)} with {manifest.history} decisions"
        raise ConfigError(f"inputs are {found}, expected {', '.join(INPUTS)} with {HISTORY} decisions")
    if not 1 <= manifest.hidden <= 1024:
        raise ConfigError(f"hidden is {manifest.hidden}, expected 1 to 1024")
    for name in ("offsets", "scales"):
        values: tuple[float, ...] = getattr(manifest.scaling, name)
        if len(values) != len(INPUTS) or not np.all(np.isfinite(values)) or (name == "scales" and 0.0 in values):
            raise ConfigError(f"scaling.{name} is {list(values)}, expected {len(INPUTS)} finite numbers, no scale of 0")
    expected = shapes(manifest.hidden)
    if set(weights) != set(expected):
        raise ConfigError(f"weights are {', '.join(sorted(weights))}, expected {', '.join(sorted(expected))}")
    for name, shape in expected.items():
        array = weights[name]
        if array.shape != shape or array.dtype != np.float32:
            raise ConfigError(f"{name} is {array.dtype} {list(array.shape)}, expected float32 {list(shape)}")
        if not np.all(np.isfinite(array)):
            raise ConfigError(f"{name} has values that are not finite")

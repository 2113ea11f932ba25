"""The tables of the package aiconfigurator-core (Apache-2.0): GPU kernel timings, one parquet file per operation.

Only the package's data files are read; its code is never imported. Layout of release 0.12:
systems/data/GPU/OPERATION/FRAMEWORK/RELEASE/*.parquet, one row per measurement, `latency` in milliseconds.
"""

import importlib.util
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from goodspeed.errors import ConfigError
from goodspeed.extras import missing_extra
from goodspeed.registry import nearest_name
from goodspeed.simulator.latency.interpolation_grid import GridPoints


class GpuTables:
    """The kernel timings of one GPU with the latest measured release of one framework."""

    def __init__(self, gpu: str, framework: str) -> None:
        """Raises ConfigError if the package is not installed, or has no data for the GPU or the framework."""
        self._gpu = _entry(_package() / "systems" / "data", gpu)
        self._framework = framework
        _entry(self._gpu / "gemm", framework)

    def products(self, dtype: str) -> dict[tuple[int, int], GridPoints]:
        """Matrix products: seconds by tokens, for each (outputs, inputs). Raises ConfigError for an unknown dtype."""
        rows = self._rows("gemm", "gemm_perf", ("n", "k", "m"), {"gemm_dtype": dtype})
        products: dict[tuple[int, int], GridPoints] = {}
        for num_outputs, num_inputs, num_tokens, milliseconds in rows:
            products.setdefault((int(num_outputs), int(num_inputs)), {})[(num_tokens,)] = milliseconds / 1e3
        return products

    def attention(self, kind: str, heads: tuple[int, int, int], kv_dtype: str) -> GridPoints:
        """Seconds of one layer's attention; `heads`: query heads, KV heads and the head dimension.

        `kind` is context (whole prompts: by number and length) or generation (streams with one new token: by number and
        context). Raises ConfigError for what was not measured.
        """
        names = ("num_heads", "num_key_value_heads", "head_dim")
        where = {**dict(zip(names, heads, strict=True)), "kv_cache_dtype": kv_dtype, "attn_dtype": "bfloat16"}
        rows = self._rows("attention", f"{kind}_attention_perf", ("batch_size", "isl", "step"), where)
        return _fastest(((streams, length + before), ms / 1e3) for streams, length, before, ms in rows)

    def all_reduce(self, num_gpus: int) -> GridPoints:
        """All-reduce of 16-bit values: seconds by their number. Raises ConfigError for an unmeasured `num_gpus`."""
        rows = self._rows("comm", "custom_allreduce_perf", ("message_size",), {"num_gpus": num_gpus})
        return _fastest(((size,), ms / 1e3) for size, ms in rows)  # the faster of eager and captured graph

    def _rows(
        self, operation: str, file: str, columns: Sequence[str], where: Mapping[str, object]
    ) -> list[tuple[float, ...]]:
        """The columns, and the milliseconds, of the rows that match `where`."""
        import pyarrow.parquet  # noqa: PLC0415  (an optional extra)

        folder = _latest(_entry(self._gpu / operation, self._framework))
        path = folder / f"{file}.parquet"
        conditions = [(column, "=", value) for column, value in where.items()]
        if "window_size" in pyarrow.parquet.read_schema(path).names:
            conditions.append(("window_size", "=", 0))
        table = pyarrow.parquet.read_table(path, columns=[*columns, "latency"], filters=conditions)
        if not table.num_rows:
            wanted = ", ".join(f"{column} {value}" for column, value in where.items())
            raise ConfigError(f"{self._gpu.name} has no {operation} measured by {self._framework} with {wanted}")
        return list(zip(*(table[column].to_pylist() for column in [*columns, "latency"]), strict=True))


def _package() -> Path:
    found = [importlib.util.find_spec(name) for name in ("aiconfigurator_core", "pyarrow")]
    if not found[0] or not found[0].submodule_search_locations or not found[1]:
        raise ConfigError(missing_extra('kind = "aiconfigurator"', "gpu-tables"))
    return Path(found[0].submodule_search_locations[0])


def _entry(folder: Path, name: str) -> Path:
    if not name or not (folder / name).is_dir():
        known = [entry.name for entry in folder.iterdir() if entry.is_dir()] if folder.is_dir() else []
        raise ConfigError(f"no measurements of {folder.name} {name!r}; {nearest_name(name, known)}")
    return folder / name


def _latest(folder: Path) -> Path:
    def numbers(release: Path) -> list[int]:
        return [int(number) for number in re.findall(r"\d+", release.name)]

    return max((entry for entry in folder.iterdir() if entry.is_dir()), key=numbers)


def _fastest(measurements: Iterable[tuple[tuple[float, ...], float]]) -> GridPoints:
    """The fastest of several measurements at one point."""
    fastest: GridPoints = {}
    for point, seconds in measurements:
        fastest[point] = min(seconds, fastest.get(point, seconds))
    return fastest

"""Grids over a scenario's keys: `--set key.path=v1,v2` defines an axis, and each combination of values is a cell."""

import copy
import itertools
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from goodspeed.errors import ConfigError
from goodspeed.registry import nearest_name

EVERY = "*"


@dataclass(frozen=True, slots=True)
class Axis:
    """A key of the scenario and its values."""

    path: str
    values: tuple[Any, ...]

    @classmethod
    def parse(cls, text: str) -> "Axis":
        """Parse text such as 'verifiers.core.budget=16,24': TOML values or bare words. Raises ConfigError."""
        path, equals, listed = text.partition("=")
        values = _values(listed)
        if not equals or not path.strip() or not values:
            raise ConfigError(f"set is {text!r}, expected KEY.PATH=VALUE,VALUE such as network.rtt_ms=10,30")
        if any(value in values[:i] for i, value in enumerate(values)):
            raise ConfigError(f"set is {text!r}, expected each value only once")
        return cls(path.strip(), values)


@dataclass(frozen=True, slots=True)
class GridCell:
    """A point of the grid: one value per axis."""

    settings: tuple[tuple[str, Any], ...]  # (path, value), in the order of the axes

    @property
    def name(self) -> str:
        """Name for tables: the last parts of the paths, or full_path paths if two last parts are equal."""
        words = [path.rpartition(".")[2] for path, _ in self.settings]
        if len(set(words)) < len(words):
            words = [path for path, _ in self.settings]
        values = [display_value(value) for _, value in self.settings]
        return ", ".join(f"{word}={value}" for word, value in zip(words, values, strict=True)) or "as written"

    def applied_to(self, scenario: Mapping[str, Any]) -> dict[str, Any]:
        """The scenario's values with those of the cell. Raises ConfigError for a path that does not exist."""
        values = copy.deepcopy(dict(scenario))
        for path, value in self.settings:
            _assign(values, path.split("."), value, path)
        return values


def cells(axes: Sequence[Axis]) -> list[GridCell]:
    """All cells; the first one is the baseline of comparisons. Raises ConfigError for a path that occurs twice."""
    paths = [axis.path for axis in axes]
    if len(set(paths)) < len(paths):
        duplicate = next(path for path in paths if paths.count(path) > 1)
        raise ConfigError(f"{duplicate} is set twice, expected one --set with all its values")
    return [
        GridCell(tuple(zip(paths, values, strict=True)))
        for values in itertools.product(*(axis.values for axis in axes))
    ]


def display_value(value: Any) -> str:
    """A value as text for tables."""
    return f"{value:g}" if isinstance(value, float) and math.isfinite(value) else str(value)


def _values(listed: str) -> tuple[Any, ...]:
    try:
        return tuple(tomllib.loads(f"values = [{listed}]")["values"])
    except tomllib.TOMLDecodeError:
        return tuple(_value(text.strip()) for text in listed.split(",") if text.strip())


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _assign(values: Any, path: Sequence[str], value: Any, full_path: str) -> None:
    """Set a value. A missing key of a table is created, and checked with the scenario; a list entry must exist."""
    first, *rest = path
    if isinstance(values, list):
        for entry in _entries(values, first, full_path):
            if not rest:
                raise ConfigError(f"{full_path!r} ends at an entry of a list, expected a key of it")
            _assign(entry, rest, value, full_path)
    elif not isinstance(values, dict):
        raise ConfigError(f"{full_path!r} continues below {values!r}, expected a table there")
    elif rest:
        _assign(values.setdefault(first, {}), rest, value, full_path)
    else:
        values[first] = value


def _entries(entries: Sequence[Any], which: str, full_path: str) -> Iterator[Any]:
    """The entries selected by index from 0, by name, or by EVERY."""
    names = [entry.get("name", "") if isinstance(entry, dict) else "" for entry in entries]
    if which == EVERY:
        yield from entries
    elif which.isdecimal() and int(which) < len(entries):
        yield entries[int(which)]
    elif which and which in names:
        yield entries[names.index(which)]
    else:
        known = [*filter(None, names), *map(str, range(len(entries))), EVERY]
        raise ConfigError(f"{full_path!r}: no entry {which!r}; {nearest_name(which, known)}")

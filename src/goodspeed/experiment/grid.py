"""Grids over a scenario's keys: `--set key.path=v1,v2` for each axis, a cell for each combination."""

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
    """A key and the values that it takes."""

    path: str
    values: tuple[Any, ...]

    @classmethod
    def parse(cls, text: str) -> "Axis":
        """Of 'verifiers.core.budget=16,24'. Values are TOML's; a bare word is a string. Raises ConfigError."""
        path, equals, listed = text.partition("=")
        values = _values(listed)
        if not equals or not path.strip() or not values:
            raise ConfigError(f"set is {text!r}, expected KEY.PATH=VALUE,VALUE such as network.rtt_ms=10,30")
        if any(value in values[:i] for i, value in enumerate(values)):
            raise ConfigError(f"set is {text!r}, expected each value only once")
        return cls(path.strip(), values)


@dataclass(frozen=True, slots=True)
class GridCell:
    """A point of the grid: a value for each axis."""

    settings: tuple[tuple[str, Any], ...]  # (path, value), in the order of the axes

    @property
    def name(self) -> str:
        """For tables: the paths' last words, or whole paths if two end alike."""
        words = [path.rpartition(".")[2] for path, _ in self.settings]
        if len(set(words)) < len(words):
            words = [path for path, _ in self.settings]
        values = [shown(value) for _, value in self.settings]
        return ", ".join(f"{word}={value}" for word, value in zip(words, values, strict=True)) or "as written"

    def of(self, scenario: Mapping[str, Any]) -> dict[str, Any]:
        """The scenario's values with the cell's in their place. Raises ConfigError for a path that leads nowhere."""
        values = copy.deepcopy(dict(scenario))
        for path, value in self.settings:
            _assign(values, path.split("."), value, path)
        return values


def cells(axes: Sequence[Axis]) -> list[GridCell]:
    """The first is the one that the others are compared with. Raises ConfigError for a path given twice."""
    paths = [axis.path for axis in axes]
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise ConfigError(f"{twice} is set twice, expected one --set with all its values")
    return [
        GridCell(tuple(zip(paths, values, strict=True)))
        for values in itertools.product(*(axis.values for axis in axes))
    ]


def shown(value: Any) -> str:
    """A value as it is written in tables."""
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


def _assign(values: Any, path: Sequence[str], value: Any, whole: str) -> None:
    """A table's missing key is made (whoever reads the scenario knows the keys); a list's entry must be there."""
    first, *rest = path
    if isinstance(values, list):
        for entry in _entries(values, first, whole):
            if not rest:
                raise ConfigError(f"{whole!r} ends at an entry of a list, expected a key of it")
            _assign(entry, rest, value, whole)
    elif not isinstance(values, dict):
        raise ConfigError(f"{whole!r} goes on below {values!r}, expected a table there")
    elif rest:
        _assign(values.setdefault(first, {}), rest, value, whole)
    else:
        values[first] = value


def _entries(entries: Sequence[Any], which: str, whole: str) -> Iterator[Any]:
    """By place from 0, by the entry's name, or all."""
    names = [entry.get("name", "") if isinstance(entry, dict) else "" for entry in entries]
    if which == EVERY:
        yield from entries
    elif which.isdecimal() and int(which) < len(entries):
        yield entries[int(which)]
    elif which and which in names:
        yield entries[names.index(which)]
    else:
        known = [*filter(None, names), *map(str, range(len(entries))), EVERY]
        raise ConfigError(f"{whole!r}: no entry {which!r}; {nearest_name(which, known)}")

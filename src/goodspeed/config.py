"""Configuration: one frozen dataclass per component, from TOML and flags; unknown keys are errors.

A field of a config dataclass carries its help text: `port: int = option(7700, "port to listen on")`. A field whose
type is another such dataclass is a TOML table, and its flags are dotted (`--link.rtt-ms 20`). Flags override the file.
"""

import argparse
import dataclasses
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from goodspeed.errors import ConfigError, GoodSpeedError
from goodspeed.registry import nearest_name

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    ConfigT = TypeVar("ConfigT", bound=DataclassInstance)
else:
    ConfigT = TypeVar("ConfigT")

T = TypeVar("T")


def option(default: T, help_text: str) -> T:
    """A config field with its default and its help text."""
    return dataclasses.field(default=default, metadata={"help": help_text})


def table(config: type[T]) -> T:
    """A config field that is a table of its own, with all its defaults."""
    return dataclasses.field(default_factory=config)


def add_flags(parser: argparse.ArgumentParser, config: type["DataclassInstance"]) -> None:
    """Give the parser `--config FILE` and one flag for every field of the config dataclass."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file; flags override it")
    for path, field, kind in _leaves(config):
        flag = "--" + ".".join(path).replace("_", "-")
        help_text = f"{field.metadata.get('help', '')} (default: {_shown(field)})".replace("%", "%%")
        if kind is bool:
            parser.add_argument(flag, dest=_dest(path), action=argparse.BooleanOptionalAction, help=help_text)
        elif typing.get_origin(kind) is tuple:
            parser.add_argument(flag, dest=_dest(path), nargs="*", type=typing.get_args(kind)[0], help=help_text)
        else:
            parser.add_argument(flag, dest=_dest(path), type=kind, metavar=kind.__name__.upper(), help=help_text)


def from_args(config: type[ConfigT], args: argparse.Namespace) -> ConfigT:
    """The config that `--config` and the flags of add_flags describe. Raises ConfigError."""
    values = read_toml(args.config) if args.config else {}
    for path, _, _ in _leaves(config):
        given = getattr(args, _dest(path))
        if given is not None:
            here = values
            for name in path[:-1]:
                here = here.setdefault(name, {})
            here[path[-1]] = tuple(given) if isinstance(given, list) else given
    return from_mapping(config, values)


def read_toml(path: Path) -> dict[str, Any]:
    """The file's contents. Raises ConfigError if it is missing or no TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error


def from_mapping(config: type[ConfigT], values: Mapping[str, Any], where: str = "") -> ConfigT:
    """The config dataclass from TOML values. Raises ConfigError that names an unknown key or a wrong value."""
    kinds = typing.get_type_hints(config)
    fields = {field.name: field for field in dataclasses.fields(config)}
    for key in values:
        if key.replace("-", "_") not in fields:
            raise ConfigError(f"unknown key {where + key!r}; {nearest_name(key, list(fields))}")
    parsed = {
        key.replace("-", "_"): _value(kinds[key.replace("-", "_")], value, where + key) for key, value in values.items()
    }
    missing = [name for name, field in fields.items() if name not in parsed and _is_required(field)]
    if missing:
        raise ConfigError(f"{where + missing[0]!r} is missing and has no default")
    try:
        return config(**parsed)
    except ConfigError:
        raise
    except GoodSpeedError as error:
        raise ConfigError(f"{where or config.__name__}: {error}") from error


def _value(kind: Any, value: Any, where: str) -> Any:
    inner = _unwrap_optional(kind)
    if dataclasses.is_dataclass(inner) and isinstance(inner, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where!r} is {value!r}, expected a table")
        return from_mapping(inner, value, where + ".")
    if typing.get_origin(inner) is tuple and isinstance(value, list | tuple):
        return tuple(_value(typing.get_args(inner)[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if inner is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if inner is Path and isinstance(value, str):
        return Path(value)
    expected = typing.get_origin(inner) or inner
    if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
        raise ConfigError(f"{where!r} is {value!r}, expected {expected.__name__}")
    return value


def _leaves(
    config: type["DataclassInstance"], above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], dataclasses.Field[Any], Any]]:
    kinds = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        kind = _unwrap_optional(kinds[field.name])
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            yield from _leaves(kind, (*above, field.name))
        elif not (typing.get_origin(kind) is tuple and dataclasses.is_dataclass(typing.get_args(kind)[0])):
            yield (*above, field.name), field, kind  # a list of tables is for the file alone


def _unwrap_optional(kind: Any) -> Any:
    if typing.get_origin(kind) in {typing.Union, types.UnionType}:
        return next(part for part in typing.get_args(kind) if part is not types.NoneType)
    return kind


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _dest(path: tuple[str, ...]) -> str:
    return "__".join(path)


def _shown(field: dataclasses.Field[Any]) -> str:
    return "required" if _is_required(field) else str(field.default).replace("%", "%%")

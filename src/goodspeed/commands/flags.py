"""Command-line flags that are derived from config dataclasses.

Every key has a flag: `--seed 3`, and dotted in a table: `--link.rtt-ms 20`. Flags override the file of `--config`.
"""

import argparse
import dataclasses
import logging
import tomllib
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from goodspeed.config import ConfigField, ConfigKey, config_keys, file_value, first_line, from_mapping, read_toml
from goodspeed.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    ConfigT = TypeVar("ConfigT", bound=DataclassInstance)
else:
    ConfigT = TypeVar("ConfigT")

log = logging.getLogger(__name__)


def add_flags(parser: argparse.ArgumentParser, config: type["DataclassInstance"], first: Sequence[str] = ()) -> None:
    """Give the parser `--config FILE` and one flag for every key of the config dataclass, grouped by tables.

    `first` are the dotted keys that one needs first: a group of their own, at the top of the help.
    """
    assert set(first) <= {key.name for key in config_keys(config)}, first
    groups: dict[tuple[str, ...], argparse._ActionsContainer] = {(): parser}
    start = _first_group(parser) if first else parser
    start.add_argument("--config", type=Path, metavar="FILE", help="TOML file; flags override it")
    parser.usage = parser.usage or "%(prog)s [FLAG ...]"
    for key in config_keys(config):
        if key.field.table:  # a list of tables has no flag
            continue
        table_path = key.path[:-1]
        if table_path not in groups:
            groups[table_path] = parser.add_argument_group(f"[{'.'.join(table_path)}]", first_line(key.table))
        _add_flag(start if key.name in first else groups[table_path], key)


def _first_group(parser: argparse.ArgumentParser) -> "argparse._ActionsContainer":
    group = parser.add_argument_group("to start with")
    parser._action_groups.insert(0, parser._action_groups.pop())
    return group


def _add_flag(group: "argparse._ActionsContainer", key: ConfigKey) -> None:
    flag, help_text, kind = flag_of(key.path), _flag_help(key.field), key.field.kind
    if kind is bool:
        group.add_argument(flag, dest=key.name, action=argparse.BooleanOptionalAction, help=help_text)
    elif key.field.is_free_table:
        group.add_argument(
            flag, dest=key.name, nargs="*", type=_assignment, metavar="KEY=VALUE", help=key.field.option.help
        )
    elif key.field.is_list:
        item = typing.get_args(kind)[0]
        group.add_argument(flag, dest=key.name, nargs="*", type=item, metavar=item.__name__.upper(), help=help_text)
    else:
        group.add_argument(flag, dest=key.name, type=kind, metavar=kind.__name__.upper(), help=help_text)
    for path in key.former_paths:
        group.add_argument(flag_of(path), action=_FormerFlag, const=flag, nargs="*", help=argparse.SUPPRESS)


def from_args(config: type[ConfigT], args: argparse.Namespace) -> ConfigT:
    """The config that `--config` and the flags of add_flags describe. Raises ConfigError."""
    values = read_toml(args.config) if args.config else {}
    for key in config_keys(config):
        value = getattr(args, key.name, None)
        if value is None:
            continue
        if key.field.is_free_table:
            value = {**(file_value(values, key.path) or {}), **dict(value)}
        _assign(values, key.path, tuple(value) if isinstance(value, list) else value)
    return from_mapping(config, values)


def given_keys(config: type["DataclassInstance"], args: argparse.Namespace) -> frozenset[str]:
    """The dotted keys that `--config` or the flags give a value; the others have their defaults. Raises ConfigError."""
    values = read_toml(args.config) if args.config else {}
    return frozenset(
        key.name
        for key in config_keys(config)
        if getattr(args, key.name, None) is not None or file_value(values, key.path) is not None
    )


def warn_of_visible_secrets(config: type["DataclassInstance"], args: argparse.Namespace) -> None:
    """Log a warning for every secret among the flags: other users of the machine see the command line."""
    for key in config_keys(config):
        if key.field.option.is_secret and getattr(args, key.name, None):
            ids = {"flag": flag_of(key.path), "instead": f"{flag_of(key.path)}-file"}
            log.warning("a secret is on the command line, where all users of this machine see it", extra={"ids": ids})


def flag_of(path: tuple[str, ...]) -> str:
    """The flag of a key."""
    return "--" + ".".join(path).replace("_", "-")


def _assign(values: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        values = values.setdefault(name, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{name} is {values!r}, expected a table")
    values[path[-1]] = value


def _assignment(text: str) -> tuple[str, Any]:
    """A key and its value, which is TOML or a string without quotes. Raises ArgumentTypeError."""
    key, separator, value = text.partition("=")
    if not (key and separator):
        raise argparse.ArgumentTypeError(f"{text!r}, expected KEY=VALUE")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value


class _FormerFlag(argparse.Action):
    """Refuses a renamed flag with its current name."""

    def __call__(self, parser: argparse.ArgumentParser, *args: object) -> NoReturn:
        parser.error(f"unknown flag {args[2]}; it is called {self.const} now")


def _flag_help(field: ConfigField) -> str:
    facts = [*field.option.facts, f"default: {_shown(field.default)}"]
    return f"{field.option.help} ({'; '.join(facts)})".replace("%", "%%")


def _shown(default: Any) -> str:
    if default is dataclasses.MISSING:
        return "none"
    if isinstance(default, tuple):
        return " ".join(map(str, default)) or "none"
    return {None: "none", "": "empty"}.get(default, str(default))


def add_ray_flag(parser: argparse.ArgumentParser) -> None:
    """`--ray [ADDRESS]`: where jobs run; None without the flag (goodspeed.experiment.executor)."""
    parser.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="run on a Ray cluster; without ADDRESS, on one of this machine",
    )


def output_file(text: str) -> Path:
    """The type of a flag whose file is written late: a folder that is missing is an error of usage at once."""
    path = Path(text)
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{path.parent} is not a folder")
    return path

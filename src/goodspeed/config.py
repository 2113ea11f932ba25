"""Configuration: one frozen dataclass per component, read from TOML. Unknown keys are errors.

A field declares its default, its help text and the values that it takes:

    @config_dataclass
    class ServerConfig:
        port: int = option(7700, "port to listen on", ge=0, le=65535)

Validation, the flags of the command line (goodspeed.commands.flags) and the configuration reference are derived from
these declarations. A field whose type is another such dataclass is a TOML table.
"""

import dataclasses
import functools
import math
import tomllib
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

from goodspeed.errors import ConfigError, GoodSpeedError
from goodspeed.registry import did_you_mean, nearest_name

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    ConfigT = TypeVar("ConfigT", bound=DataclassInstance)
else:
    ConfigT = TypeVar("ConfigT")

T = TypeVar("T")

Choices = Collection[str] | Callable[[], Collection[str]]
"""Names that a string may take, or a function that returns them: for names that are defined or discovered later."""

TYPE_NAMES = {int: "an integer", float: "a number", str: "a string", bool: "true or false", Path: "a path"}


@dataclass(frozen=True, slots=True)
class Option:
    """The declaration of a field: see `option`."""

    help: str
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    choices: Choices | None = None
    is_required: bool = False
    is_secret: bool = False
    was: tuple[str, ...] = ()
    was_values: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def names(self) -> Collection[str] | None:
        """The choices, if there are any."""
        return self.choices() if callable(self.choices) else self.choices

    @property
    def expected(self) -> str:
        """The values that the field takes, in words; empty if it takes every value of its type."""
        if (names := self.names) is not None:
            return f"one of {', '.join(filter(None, names))}"
        if self.ge is not None and self.le is not None:
            return f"{_number(self.ge)} to {_number(self.le)}"
        bounds = [
            "" if self.ge is None else f"{_number(self.ge)} or more",
            "" if self.gt is None else f"more than {_number(self.gt)}",
            "" if self.le is None else "inf is allowed" if self.le == math.inf else f"at most {_number(self.le)}",
            "" if self.lt is None else f"less than {_number(self.lt)}",
        ]
        return ", ".join(filter(None, bounds))

    @property
    def facts(self) -> list[str]:
        """The conditions on the field, for its help text."""
        return [*filter(None, [self.expected]), *(["not empty"] if self.is_required else [])]

    @property
    def has_range(self) -> bool:
        """True if a lower or an upper bound is declared."""
        return any(bound is not None for bound in (self.ge, self.gt, self.le, self.lt))

    def check(self, name: str, value: Any) -> None:
        """Check a field's value, or every item of a tuple. Raises ConfigError; None passes."""
        if self.is_required and not value:
            raise ConfigError(f"{name} is empty, expected {'one or more values' if value == () else 'a value'}")
        if isinstance(value, tuple):
            for index, item in enumerate(value):
                self._check_item(f"{name}[{index}]", item)
        elif value is not None:
            self._check_item(name, value)

    def _check_item(self, name: str, value: Any) -> None:
        if (names := self.names) is not None:
            self._check_choice(name, value, names)
        elif isinstance(value, float) and (math.isnan(value) or (math.isinf(value) and self.le != math.inf)):
            raise ConfigError(f"{name} is {value}, expected {self.expected or 'a finite number'}")
        elif self.has_range and not self._is_in_range(value):
            raise ConfigError(f"{name} is {value}, expected {self.expected}")

    def _check_choice(self, name: str, value: str, names: Collection[str]) -> None:
        if value in self.was_values:
            raise ConfigError(f"{name} is {value!r}, which is called {self.was_values[value]!r} now")
        if value not in names:
            hint = did_you_mean(value, filter(None, names))
            raise ConfigError(f"{name} is {value!r}, expected {self.expected}{'; ' if hint else ''}{hint}")

    def _is_in_range(self, value: float) -> bool:
        return (
            (self.ge is None or value >= self.ge)
            and (self.gt is None or value > self.gt)
            and (self.le is None or value <= self.le)
            and (self.lt is None or value < self.lt)
        )


def option(default: T, help_text: str, **declaration: typing.Unpack["Declaration"]) -> T:
    """A field of a config dataclass with its default, its help text and the values that it takes.

    `ge`, `gt`, `le` and `lt` bound a number; infinity is refused unless `le` is infinity. `choices` lists the names
    that a string may take. A bound or a choice of a tuple holds for each of its items. `is_required` refuses an empty
    string or tuple. `is_secret` keeps the value out of messages and of the dataclass's repr. `was` lists former names
    of the key and `was_values` maps former values to current ones: both are refused with the current name.
    """
    declared = Option(help_text, **declaration)
    return dataclasses.field(default=default, repr=not declared.is_secret, metadata={"option": declared})


def required(*, help_text: str, **declaration: typing.Unpack["Declaration"]) -> Any:
    """A field without a default, which every table and every call must give. The declaration is that of `option`."""
    return dataclasses.field(metadata={"option": Option(help_text, **declaration)})


def table(config: type[T], was: tuple[str, ...] = ()) -> T:
    """A field that is a table of its own, with all its defaults. `was` lists former names of the table."""
    return dataclasses.field(default_factory=config, metadata={"option": Option("", was=was)})


def free_table(help_text: str) -> dict[str, Any]:
    """A field that is a table with any keys: the options of a library, which checks them. It is empty by default."""
    return dataclasses.field(default_factory=dict, metadata={"option": Option(help_text)})


class Declaration(typing.TypedDict, total=False):
    """What `option` declares besides the default and the help text."""

    ge: float
    gt: float
    le: float
    lt: float
    choices: Choices
    is_required: bool
    is_secret: bool
    was: tuple[str, ...]
    was_values: Mapping[str, str]


@dataclass_transform(frozen_default=True, field_specifiers=(required,))
def config_dataclass(cls: type[T]) -> type[T]:
    """A frozen dataclass with slots that validates its fields when an instance is made.

    The class may define `__post_init__` for conditions on several fields. It runs after the fields are checked, and its
    messages start with the name of a field: from_mapping puts the path of the table before them.
    """
    check_together = getattr(cls, "__post_init__", None)

    def check(self: "DataclassInstance") -> None:
        for name, declared in _declarations(type(self)).items():
            declared.check(name, getattr(self, name))
        if check_together:
            check_together(self)

    cls.__post_init__ = check  # type: ignore[attr-defined]
    return dataclass(frozen=True, slots=True)(cls)


@dataclass(frozen=True, slots=True)
class ConfigField:
    """One field of a config dataclass: a key with a value, a table or a list of tables."""

    name: str
    kind: Any  # the field's type, without None
    default: Any  # dataclasses.MISSING if there is none
    option: Option

    @property
    def is_list(self) -> bool:
        """True for a list of values or of tables."""
        return typing.get_origin(self.kind) is tuple

    @property
    def is_free_table(self) -> bool:
        """True for a table with any keys."""
        return typing.get_origin(self.kind) is dict

    @property
    def table(self) -> type["DataclassInstance"] | None:
        """The config dataclass of a table, or of each entry of a list of tables."""
        kind = typing.get_args(self.kind)[0] if self.is_list else self.kind
        return kind if isinstance(kind, type) and dataclasses.is_dataclass(kind) else None


def config_fields(config: type["DataclassInstance"]) -> list[ConfigField]:
    """The fields of the config dataclass, in the order of declaration."""
    kinds = typing.get_type_hints(config)
    return [
        ConfigField(field.name, _unwrap_optional(kinds[field.name]), field.default, declared)
        for field, declared in zip(dataclasses.fields(config), _declarations(config).values(), strict=True)
    ]


@dataclass(frozen=True, slots=True)
class ConfigKey:
    """One key of a component or of one of its tables: a value, or a list of tables."""

    path: tuple[str, ...]
    table: type["DataclassInstance"]  # the dataclass that declares the key
    field: ConfigField
    former_paths: tuple[tuple[str, ...], ...]

    @property
    def name(self) -> str:
        """The dotted TOML key."""
        return ".".join(self.path)


def config_keys(
    config: type["DataclassInstance"], above: tuple[str, ...] = (), former: tuple[tuple[str, ...], ...] = ()
) -> Iterator[ConfigKey]:
    """Every key of the config dataclass and of its tables, in the order of declaration.

    `above` is the path of the table that `config` describes, `former` lists the paths that this table had before.
    """
    for field in config_fields(config):
        names = (field.name, *field.option.was)
        former_paths = tuple((*path, name) for path in (above, *former) for name in names)[1:]
        if field.table and not field.is_list:
            yield from config_keys(field.table, (*above, field.name), former_paths)
        else:
            yield ConfigKey((*above, field.name), config, field, former_paths)


def first_line(config: type["DataclassInstance"]) -> str:
    """The first line of the docstring: what the table configures."""
    return (config.__doc__ or "").partition("\n")[0]


def read_toml(path: Path) -> dict[str, Any]:
    """The file's contents. Raises ConfigError if it cannot be read, is not TOML or has a key in two spellings."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    _check_spellings(values)
    return values


def file_value(values: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """The value of a key in the contents of a TOML file, in either spelling; None if it has none."""
    for name in path:
        if not isinstance(values, Mapping):
            return None
        values = values.get(name, values.get(name.replace("_", "-")))
    return values


def _check_spellings(values: object) -> None:
    """Raises ConfigError for a table that has both `a-b` and `a_b`, which are one key."""
    if isinstance(values, list):
        for item in values:
            _check_spellings(item)
    elif isinstance(values, Mapping):
        for key, value in values.items():
            if "-" in key and key.replace("-", "_") in values:
                raise ConfigError(f"{key!r} and {key.replace('-', '_')!r} are the same key, expected one of them")
            _check_spellings(value)


def from_mapping(config: type[ConfigT], values: Mapping[str, Any], prefix: str = "") -> ConfigT:
    """The config dataclass from TOML values.

    `prefix` is the path of the table in the file, such as "core.". Raises ConfigError, which names the key, for an
    unknown key, a value of a wrong type and a value outside of its range.
    """
    kinds = typing.get_type_hints(config)
    named = {_known_name(config, key, prefix): value for key, value in values.items()}
    for name, value in named.items():
        if _declarations(config)[name].is_secret and not isinstance(value, str):
            raise ConfigError(f"{prefix}{name} is not a string")
    parsed = {name: _value(kinds[name], value, prefix + name) for name, value in named.items()}
    for field in dataclasses.fields(config):
        if field.name not in parsed and _has_no_default(field):
            raise ConfigError(f"{prefix}{field.name} is missing and has no default")
    try:
        return config(**parsed)
    except ConfigError as error:
        raise ConfigError(f"{prefix}{error}") from error
    except GoodSpeedError as error:
        raise ConfigError(f"{prefix or config.__name__}: {error}") from error


def _known_name(config: type["DataclassInstance"], key: str, prefix: str) -> str:
    name = key.replace("-", "_")
    names = [field.name for field in dataclasses.fields(config)]
    if name in names:
        return name
    for current, declared in _declarations(config).items():
        if name in declared.was:
            raise ConfigError(f"unknown key {prefix + name!r}; it is called {prefix + current!r} now")
    raise ConfigError(f"unknown key {prefix + key!r}; {nearest_name(name, names)}")


def _value(kind: Any, value: Any, name: str) -> Any:
    inner = _unwrap_optional(kind)
    if dataclasses.is_dataclass(inner) and isinstance(inner, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{name} is {value!r}, expected a table")
        return from_mapping(inner, value, name + ".")
    if typing.get_origin(inner) is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{name} is {value!r}, expected a table")
        return {key.replace("-", "_"): item for key, item in value.items()}
    if typing.get_origin(inner) is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{name} is {value!r}, expected a list")
        item = typing.get_args(inner)[0]
        return tuple(_value(item, value[index], f"{name}[{index}]") for index in range(len(value)))
    if inner is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if inner is Path and isinstance(value, str):
        return Path(value)
    if not isinstance(value, inner) or (isinstance(value, bool) and inner is not bool):
        raise ConfigError(f"{name} is {value!r}, expected {TYPE_NAMES[inner]}")
    return value


@functools.cache
def _declarations(config: type["DataclassInstance"]) -> dict[str, Option]:
    return {field.name: field.metadata.get("option", Option("")) for field in dataclasses.fields(config)}


def _unwrap_optional(kind: Any) -> Any:
    if typing.get_origin(kind) in {typing.Union, types.UnionType}:
        return next(part for part in typing.get_args(kind) if part is not types.NoneType)
    return kind


def _has_no_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _number(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else f"{bound:g}"

"""The reference of keys and commands, and the declarations that it needs."""

import typing

import pytest

from goodspeed.commands.parser import COMMANDS
from goodspeed.commands.reference import COMPONENTS, cli_reference, config_reference
from goodspeed.config import ConfigField, config_fields

if typing.TYPE_CHECKING:
    from _typeshed import DataclassInstance


def every_config() -> list[type["DataclassInstance"]]:
    """The config dataclasses of all components and of their tables, once each."""
    configs = list(COMPONENTS.values())
    for config in configs:  # it grows
        configs += [field.table for field in config_fields(config) if field.table and field.table not in configs]
    return configs


def is_number(field: ConfigField) -> bool:
    kind = typing.get_args(field.kind)[0] if field.is_list else field.kind
    return kind in {int, float}


@pytest.mark.parametrize("config", every_config(), ids=lambda config: config.__name__)
def test_every_key_has_a_help_text_and_every_number_a_range(config: type["DataclassInstance"]) -> None:
    assert config.__doc__
    assert not config.__doc__.startswith(f"{config.__name__}("), "it has a docstring of its own"
    for field in config_fields(config):
        assert field.table or field.option.help, field.name
        assert not is_number(field) or field.option.has_range, field.name


def test_config_reference_lists_every_key_once() -> None:
    reference = config_reference()
    assert reference.count("(config-linkconfig)=") == 1
    assert (
        "| `budget` | integer | `0` | 0 or more | draft tokens that one verification batch may hold; 0: " in reference
    )
    assert "### scenario file: `[[verifiers.outages]]`" in reference
    for config in every_config():
        section = reference.partition(f"(config-{config.__name__.lower()})=")[2].partition("\n(config-")[0]
        for field in config_fields(config):
            assert f"| `{field.name}` |" in section


def test_cli_reference_shows_the_help_of_every_command() -> None:
    reference = cli_reference()
    for command in COMMANDS:
        assert f"### `goodspeed {command.replace('_', '-')}`" in reference
    assert "#### `goodspeed tune distil`" in reference
    assert "--core.budget INT" in reference
    assert reference == cli_reference()

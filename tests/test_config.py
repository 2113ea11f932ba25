"""Configuration dataclasses: declarations, validation and refusals."""

import math
from pathlib import Path
from typing import Any

import pytest

from goodspeed.config import (
    config_dataclass,
    config_fields,
    config_keys,
    free_table,
    from_mapping,
    option,
    read_toml,
    required,
    table,
)
from goodspeed.errors import ConfigError, RequestError
from goodspeed.registry import Registry

SHAPES = Registry("shape", {"round": 1, "square": 2})


@config_dataclass
class Link:
    rtt_ms: float = option(0.0, "round-trip time", ge=0.0, was=("delay_ms",))

    def __post_init__(self) -> None:
        if self.rtt_ms > 1e6:
            raise RequestError(f"rtt_ms is {self.rtt_ms}")


@config_dataclass
class Cut:
    start_s: float = required(help_text="start", ge=0.0)


@config_dataclass
class Server:
    name: str = option("", "name")
    port: int = option(7700, "port", ge=0, le=65535)
    is_quiet: bool = option(False, "log less")
    peers: tuple[str, ...] = option((), "addresses")
    log: Path | None = option(None, "log file")
    link: Link = table(Link, was=("wire",))
    share: float = option(0.5, "share", gt=0.0, lt=1.0)
    shape: str = option("round", "shape", choices=SHAPES, was_values={"circular": "round"})
    sizes: tuple[int, ...] = option((1, 2), "sizes", ge=1, is_required=True)
    cuts: tuple[Cut, ...] = option((), "[[cuts]] tables")
    engine: dict[str, Any] = free_table("options of the engine")


def test_unknown_key_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'link\.rtt_m'; did you mean 'rtt_ms'"):
        from_mapping(Server, {"link": {"rtt_m": 3}})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"port": "x"}, "^port is 'x', expected an integer$"),
        ({"port": True}, "^port is True, expected an integer$"),
        ({"port": -1}, "^port is -1, expected 0 to 65535$"),
        ({"is_quiet": 1}, "^is_quiet is 1, expected true or false$"),
        ({"link": 3}, "^link is 3, expected a table$"),
        ({"engine": ["x"]}, r"^engine is \['x'\], expected a table$"),
        ({"peers": [1]}, r"^peers\[0\] is 1, expected a string$"),
        ({"peers": "x"}, "^peers is 'x', expected a list$"),
        ({"link": {"rtt_ms": -1.0}}, r"^link.rtt_ms is -1.0, expected 0 or more$"),
        ({"link": {"rtt_ms": 1e7}}, "rtt_ms is 10000000.0"),
        ({"share": 1}, "^share is 1.0, expected more than 0, less than 1$"),
        ({"share": math.nan}, "^share is nan, expected more than 0, less than 1$"),
        ({"link": {"rtt_ms": math.inf}}, "^link.rtt_ms is inf, expected 0 or more$"),
        ({"shape": "sqare"}, "^shape is 'sqare', expected one of round, square; did you mean 'square'"),
        ({"shape": "circular"}, "^shape is 'circular', which is called 'round' now$"),
        ({"sizes": []}, "^sizes is empty, expected one or more values$"),
        ({"sizes": [1, 0]}, r"^sizes\[1\] is 0, expected 1 or more$"),
        ({"link": {"delay_ms": 1}}, r"^unknown key 'link.delay_ms'; it is called 'link.rtt_ms' now$"),
        ({"wire": {"rtt_ms": 1}}, "^unknown key 'wire'; it is called 'link' now$"),
        ({"cuts": [{"start_s": -1}]}, r"^cuts\[0\].start_s is -1.0, expected 0 or more$"),
        ({"cuts": [{}]}, r"^cuts\[0\].start_s is missing and has no default$"),
    ],
)
def test_wrong_value_is_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_mapping(Server, values)


def test_dataclass_made_in_python_is_validated() -> None:
    with pytest.raises(ConfigError, match=r"^port is 70000, expected 0 to 65535$"):
        Server(port=70000)


def test_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*none\.toml"):
        read_toml(tmp_path / "none.toml")


def test_keys_list_tables_and_former_paths() -> None:
    keys = {key.name: key for key in config_keys(Server)}
    assert list(keys)[:6] == ["name", "port", "is_quiet", "peers", "log", "link.rtt_ms"]
    assert keys["link.rtt_ms"].table is Link
    assert keys["link.rtt_ms"].former_paths == (("link", "delay_ms"), ("wire", "rtt_ms"), ("wire", "delay_ms"))
    assert keys["cuts"].field.table is Cut


def test_fields_tell_values_from_tables() -> None:
    fields = {field.name: field for field in config_fields(Server)}
    assert (fields["port"].kind, fields["port"].default, fields["port"].table) == (int, 7700, None)
    assert (fields["link"].table, fields["link"].is_list) == (Link, False)
    assert (fields["cuts"].table, fields["cuts"].is_list) == (Cut, True)
    assert fields["log"].kind is Path


@pytest.mark.parametrize("text", ["is-quiet = true\nis_quiet = false", "[[cuts]]\nstart-s = 1.0\nstart_s = 2.0"])
def test_a_key_in_two_spellings_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "server.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="are the same key"):
        read_toml(path)

"""Configuration from TOML and flags."""

import argparse
from dataclasses import dataclass
from pathlib import Path

import pytest

from goodspeed.config import add_flags, from_args, from_mapping, option, table
from goodspeed.errors import ConfigError, RequestError


@dataclass(frozen=True, slots=True)
class Link:
    rtt_ms: float = option(0.0, "round-trip time")

    def __post_init__(self) -> None:
        if self.rtt_ms < 0:
            raise RequestError(f"rtt_ms is {self.rtt_ms}")


@dataclass(frozen=True, slots=True)
class Server:
    name: str = option("", "name")
    port: int = option(7700, "port")
    is_quiet: bool = option(False, "log less")
    peers: tuple[str, ...] = option((), "addresses")
    log: Path | None = option(None, "log file")
    link: Link = table(Link)


def parse(*flags: str) -> Server:
    parser = argparse.ArgumentParser()
    add_flags(parser, Server)
    return from_args(Server, parser.parse_args(flags))


def test_defaults_hold_when_nothing_is_given() -> None:
    assert parse() == Server()


def test_flags_override_the_file(tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text('name = "a"\nport = 1\npeers = ["x", "y"]\n[link]\nrtt_ms = 5\n')
    config = parse("--config", str(file), "--port", "2", "--is-quiet", "--link.rtt-ms", "7.5")
    assert config == Server("a", 2, True, ("x", "y"), None, Link(7.5))


def test_paths_and_lists_come_from_flags() -> None:
    assert parse("--peers", "a", "b", "--log", "x.jsonl") == Server(peers=("a", "b"), log=Path("x.jsonl"))


def test_unknown_key_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'link\.rtt_m'; did you mean 'rtt_ms'"):
        from_mapping(Server, {"link": {"rtt_m": 3}})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"port": "x"}, "'port' is 'x', expected int"),
        ({"port": True}, "'port' is True, expected int"),
        ({"is_quiet": 1}, "'is_quiet' is 1, expected bool"),
        ({"link": 3}, "'link' is 3, expected a table"),
        ({"peers": [1]}, r"'peers\[0\]' is 1, expected str"),
        ({"link": {"rtt_ms": -1.0}}, "rtt_ms is -1.0"),
    ],
)
def test_wrong_value_is_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_mapping(Server, values)


def test_missing_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        parse("--config", str(tmp_path / "none.toml"))

"""Flags from config dataclasses."""

import argparse
from pathlib import Path
from typing import Any

import pytest

from goodspeed.commands.flags import add_flags, from_args
from goodspeed.config import config_dataclass, free_table, option, table
from goodspeed.errors import ConfigError


@config_dataclass
class Link:
    """The network."""

    rtt_ms: float = option(0.0, "round-trip time", ge=0.0, was=("delay_ms",))


@config_dataclass
class Server:
    name: str = option("", "name")
    port: int = option(7700, "port", ge=0, le=65535)
    is_quiet: bool = option(False, "log less")
    peers: tuple[str, ...] = option((), "addresses")
    log: Path | None = option(None, "log file")
    link: Link = table(Link, was=("wire",))
    engine: dict[str, Any] = free_table("options of the engine")
    shape: str = option("round", "100% of the shape", choices=("round", "square"))


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


def test_free_table_takes_keys_from_file_and_flags(tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text('[engine]\nparallel-size = 2\nkind = "fp8"\n')
    config = parse("--config", str(file), "--engine", "kind=int8", "eager=true", "share=0.5", "list=[1, 2]")
    assert config.engine == {"parallel_size": 2, "kind": "int8", "eager": True, "share": 0.5, "list": [1, 2]}


def test_key_of_a_free_table_without_a_value_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse("--engine", "eager")
    assert "'eager', expected KEY=VALUE" in capsys.readouterr().err


def test_values_of_flags_are_validated() -> None:
    with pytest.raises(ConfigError, match=r"^link.rtt_ms is -1.0, expected 0 or more$"):
        parse("--link.rtt-ms", "-1")


def test_missing_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        parse("--config", str(tmp_path / "none.toml"))


@pytest.mark.parametrize("flag", ["--link.delay-ms", "--wire.rtt-ms", "--wire.delay-ms"])
def test_former_flag_is_refused_with_the_current_name(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(flag, "3")
    assert f"unknown flag {flag}; it is called --link.rtt-ms now" in capsys.readouterr().err


def test_help_shows_range_choices_default_and_table() -> None:
    parser = argparse.ArgumentParser(formatter_class=lambda prog: argparse.HelpFormatter(prog, width=200))
    add_flags(parser, Server)
    text = parser.format_help()
    assert "port (0 to 65535; default: 7700)" in text
    assert "100% of the shape (one of round, square; default: round)" in text
    assert "[link]:\n  The network." in text
    assert "wire" not in text


def test_flag_below_a_value_that_is_no_table_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text("link = 3")
    with pytest.raises(ConfigError, match="link is 3, expected a table"):
        parse("--config", str(file), "--link.rtt-ms", "2")

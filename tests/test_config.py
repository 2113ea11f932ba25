"""Configuration from TOML and flags: declarations, validation and refusals."""

import argparse
import math
from pathlib import Path

import pytest

from goodspeed.config import add_flags, config_dataclass, from_args, from_mapping, option, required, table
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
        ({"port": "x"}, "^port is 'x', expected an integer$"),
        ({"port": True}, "^port is True, expected an integer$"),
        ({"port": -1}, "^port is -1, expected 0 to 65535$"),
        ({"is_quiet": 1}, "^is_quiet is 1, expected true or false$"),
        ({"link": 3}, "^link is 3, expected a table$"),
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


def test_missing_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        parse("--config", str(tmp_path / "none.toml"))


def test_dataclass_made_in_python_is_validated() -> None:
    with pytest.raises(ConfigError, match=r"^port is 70000, expected 0 to 65535$"):
        Server(port=70000)


@pytest.mark.parametrize("flag", ["--link.delay-ms", "--wire.rtt-ms", "--wire.delay-ms"])
def test_former_flag_is_refused_with_the_current_name(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(flag, "3")
    assert f"unknown flag {flag}; it is called --link.rtt-ms now" in capsys.readouterr().err


def test_flag_help_shows_range_choices_and_default() -> None:
    parser = argparse.ArgumentParser(formatter_class=lambda prog: argparse.HelpFormatter(prog, width=200))
    add_flags(parser, Server)
    text = parser.format_help()
    assert "port (0 to 65535; default: 7700)" in text
    assert "shape (one of round, square; default: round)" in text
    assert "wire" not in text


def test_flag_below_a_value_that_is_no_table_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text("link = 3")
    with pytest.raises(ConfigError, match="link is 3, expected a table"):
        parse("--config", str(file), "--link.rtt-ms", "2")

"""Addresses as users write them."""

import socket

import pytest

from goodspeed.errors import ConfigError
from goodspeed.protocol.address import Address, check_port_is_free, parse_address


@pytest.mark.parametrize(
    ("text", "written", "is_loopback"),
    [
        ("127.0.0.1:7700", "127.0.0.1:7700", True),
        ("localhost:1", "localhost:1", True),
        ("::1:7700", "[::1]:7700", True),
        ("[::1]:7700", "[::1]:7700", True),
        ("[2001:db8::7]:65535", "[2001:db8::7]:65535", False),
        ("fe80::1%eth0:7700", "[fe80::1%eth0]:7700", False),
        ("verifier.example.com:7700", "verifier.example.com:7700", False),
        ("verifier_1:7700", "verifier_1:7700", False),
    ],
)
def test_address_is_read(text: str, written: str, is_loopback: bool) -> None:
    address = parse_address(text)
    assert (str(address), address.is_loopback) == (written, is_loopback)
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:7700",
        "grpc://127.0.0.1:7700",
        "127.0.0.1:7700/",
        "127.0.0.1",
        ":7700",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:70000",
        "127.0.0.1:x",
        "[127.0.0.1:7700",
        "1:2:3",
        "a b:7700",
        "",
    ],
)
def test_wrong_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected host:port with a port of 1 to 65535"):
        parse_address(text)


def test_scheme_is_named() -> None:
    with pytest.raises(ConfigError, match="without a scheme"):
        parse_address("http://127.0.0.1:7700")


def test_port_in_use_is_named_before_anything_else_starts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(ConfigError, match=f"cannot listen on {address}: .*in use"):
            check_port_is_free(address)
    check_port_is_free(address)
    check_port_is_free(Address("no such host", 0))
    with pytest.raises(ConfigError, match="cannot listen on no such host:7700"):
        check_port_is_free(Address("no such host", 7700))

"""Addresses of servers: "host:port", with IPv6 hosts in brackets or without."""

import ipaddress
import re
import socket
from dataclasses import dataclass

from goodspeed.errors import ConfigError

HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?")
MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class Address:
    """A host, which may be an IPv6 address without brackets, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """True for this machine."""
        try:
            return ipaddress.ip_address(self.host.partition("%")[0]).is_loopback
        except ValueError:
            return self.host.rstrip(".").lower() == "localhost"


def parse_address(text: str) -> Address:
    """Raises ConfigError unless the text is host:port."""
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]") and ":" in host:
        host = host[1:-1]
    is_host = _is_ipv6(host) if ":" in host else bool(HOST.fullmatch(host))
    if not is_host or not port.isdecimal() or not 0 < int(port) <= MAX_PORT:
        hint = ", without a scheme or path" if "/" in text else ""
        raise ConfigError(f"expected host:port with a port of 1 to {MAX_PORT}{hint}, not {text!r}")
    return Address(host, int(port))


def check_port_is_free(address: Address) -> None:
    """Raises ConfigError if a server could not listen there; a port of 0 passes.

    Servers check this before they load a model.
    """
    if not address.port:
        return
    try:
        family, kind, protocol, _, bound = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(bound)
            probe.listen()
    except (OSError, OverflowError) as error:
        raise ConfigError(f"cannot listen on {address}: {error}") from error


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False

"""Who may use what the API key does not protect, where there is no key: clients on this machine."""

import ipaddress

from starlette.requests import Request

from goodspeed.drafter.http.errors import ApiError


def check_loopback(request: Request) -> None:
    """Raises ApiError unless the client is on this machine and has used one of its own names."""
    host = request.client.host if request.client else ""
    if not is_loopback(host):
        raise ApiError(403, f"without an API key only this machine has access, not {host!r}", code="forbidden")
    name = request.url.hostname or ""
    # A page of a domain that resolves to this machine (DNS rebinding) sends the domain's name.
    if "." in name.strip(".") and not is_loopback(name):
        raise ApiError(403, f"without an API key the host must be this machine, not {name!r}", code="forbidden")


def is_loopback(host: str) -> bool:
    """Whether `host` is a loopback address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

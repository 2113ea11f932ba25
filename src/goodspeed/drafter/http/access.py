"""Who may administer a drafter and watch its users: the holder of the operator's key or, without keys, this machine."""

import ipaddress

from starlette.requests import Request

from goodspeed.drafter.http.api_keys import key_holder
from goodspeed.drafter.http.errors import ApiError


def check_operator(request: Request) -> None:
    """Raises ApiError unless the request may administer. Behind a proxy every request seems to be of this machine."""
    holder = key_holder(request.scope)
    if holder is None:
        check_loopback(request)
    elif not holder.is_operator:
        raise ApiError(403, f"the key of {holder.name!r} is not the operator's", code="forbidden")


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

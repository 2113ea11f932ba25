"""API keys: the operator's own, and the named ones of a credentials file."""

import asyncio
import hmac
from dataclasses import dataclass

from starlette.types import Scope

from goodspeed.credentials.credentials_file import CredentialsFile

HOLDER = "goodspeed.key_holder"
"""Where KeyCheck leaves the holder of the request's key in the ASGI scope."""
OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """Whose key a request has."""

    name: str
    is_operator: bool = False
    """May also administer the drafter and watch the texts of all users."""
    revoked: asyncio.Event | None = None
    """Set once the key is revoked; None: it lasts as long as the drafter runs."""


class ApiKeys:
    """Every key that a drafter accepts."""

    def __init__(self, operator_key: str = "", named: CredentialsFile | None = None) -> None:
        self._operator_key = operator_key.encode()
        self._named = named

    @property
    def is_required(self) -> bool:
        """Whether requests need a key."""
        return bool(self._operator_key) or self._named is not None

    def holder(self, authorization: bytes) -> KeyHolder | None:
        """The holder of the key in the header's value; None: there is no such key."""
        scheme, _, key = authorization.partition(b" ")
        key = key.strip()
        if scheme.lower() != b"bearer":
            return None
        if self._operator_key and hmac.compare_digest(key, self._operator_key):
            return KeyHolder(OPERATOR, is_operator=True)
        access = self._named.admit(key) if self._named else None
        return KeyHolder(access.name, revoked=access.revoked) if access else None


def key_holder(scope: Scope) -> KeyHolder | None:
    """The holder of the request's key; None: requests need none."""
    holder = scope.get(HOLDER)
    assert holder is None or isinstance(holder, KeyHolder)
    return holder

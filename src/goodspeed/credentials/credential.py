"""A credential: a name and the hash of the token that proves it. A credentials file has one per line.

    sha256:5e88...42d8 laptop-of-ann

Tokens are 256 random bits, so nobody can find one from its hash by trying: a plain SHA-256 suffices, without a salt or
a slow password hash, and checking a token costs microseconds. Empty lines and lines that begin with # mean nothing.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from goodspeed.errors import ConfigError

TOKEN_BYTES = 32
MAX_NAME = 128
LINE = re.compile(r"sha256:([0-9a-fA-F]{64})[ \t]+(.*)")


@dataclass(frozen=True, slots=True)
class Credential:
    """One line of a credentials file."""

    name: str
    digest: bytes  # SHA-256 of the token

    @property
    def line(self) -> str:
        """Its line, without the end of line."""
        return f"sha256:{self.digest.hex()} {self.name}"


def new_token() -> str:
    """A random token. Its hexadecimal digits need no quoting in a shell, a header or a file."""
    return secrets.token_hex(TOKEN_BYTES)


def make_credential(name: str, token: str) -> Credential:
    """The credential of somebody who will show the token. Raises ConfigError for a name that no client can have."""
    if not 0 < len(name) <= MAX_NAME or not name.isprintable() or name != name.strip():
        raise ConfigError(
            f"the name is {name[:MAX_NAME]!r}, expected 1 to {MAX_NAME} printable characters without outer spaces"
        )
    return Credential(name, hashlib.sha256(token.encode()).digest())


def parse_credentials(text: str) -> tuple[Credential, ...]:
    """The credentials of a file's text; a name may have several. Raises ConfigError with the number of a wrong line."""
    found: dict[bytes, Credential] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if (credential := parse_line(line, number)) is None:
            continue
        other = found.setdefault(credential.digest, credential)
        if other.name != credential.name:
            raise ConfigError(f"line {number}: {credential.name!r} has the token of {other.name!r}")
    return tuple(found.values())


def parse_line(line: str, number: int) -> Credential | None:
    """None: a comment or an empty line. Raises ConfigError, without the line: it may hold a token."""
    stripped = line.strip()
    if not stripped or stripped.startswith("#"):
        return None
    match = LINE.fullmatch(stripped)
    if match is None or len(match[2]) > MAX_NAME or not match[2].isprintable():
        raise ConfigError(
            f"line {number} is not a credential, expected 'sha256:' with 64 hexadecimal digits, and a name"
        )
    return Credential(match[2], bytes.fromhex(match[1]))


def find_holder(credentials: Iterable[Credential], token: bytes) -> Credential | None:
    """The credential that the token proves, found in a time that depends on the number of credentials alone."""
    digest, holder = hashlib.sha256(token).digest(), None
    for credential in credentials:
        if hmac.compare_digest(credential.digest, digest):
            holder = credential
    return holder

"""A credentials file: who it admits at present, and its changes."""

import asyncio
import contextlib
import logging
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from goodspeed.credentials.credential import (
    Credential,
    find_holder,
    make_credential,
    new_token,
    parse_credentials,
    parse_line,
)
from goodspeed.errors import ConfigError

log = logging.getLogger(__name__)

POLL_S = 0.25
"""Time between two readings. A change counts once two readings agree, so that a half-written file revokes nobody."""
FILE_MODE = 0o600


@dataclass(frozen=True, slots=True)
class Access:
    """Somebody whose token was accepted."""

    name: str
    revoked: asyncio.Event = field(default_factory=asyncio.Event, compare=False)
    """Set once the file no longer has the credential."""


class CredentialsFile:
    """The credentials of a file. While `watch` runs, a change takes effect within half a second.

    A file that cannot be read or has a wrong line changes nothing: the error is logged and the credentials stay.
    """

    def __init__(self, path: Path) -> None:
        """Raises ConfigError if the file cannot be read or has a wrong line."""
        self._path = path
        contents = _read(path)
        self._credentials = _parse(path, contents)
        self._taken: bytes | None = contents  # the contents that were considered last; None: they could not be read
        self._polled: bytes | None = contents
        self._accesses: dict[Credential, Access] = {}

    def admit(self, token: bytes) -> Access | None:
        """The access of whoever shows the token; None: the token is unknown."""
        credential = find_holder(self._credentials, token)
        return self._accesses.setdefault(credential, Access(credential.name)) if credential else None

    async def watch(self) -> None:
        """Follow the file until cancelled."""
        while True:
            await asyncio.sleep(POLL_S)
            self.poll()

    def poll(self) -> None:
        """Read the file, and take what it says if it said the same in the last poll."""
        before, self._polled = self._polled, self._read_now()
        if self._polled == before != self._taken:
            self._take(before)

    def reload(self) -> None:
        """Read the file now, and take what it says."""
        self._take(self._read_now())

    def _read_now(self) -> bytes | None:
        with contextlib.suppress(ConfigError):
            return _read(self._path)
        return None

    def _take(self, contents: bytes | None) -> None:
        self._taken = contents
        try:
            credentials = _parse(self._path, _read(self._path) if contents is None else contents)
        except ConfigError as error:
            log.error("credentials not reloaded", extra={"ids": {"reason": error}})
            return
        removed = set(self._credentials) - set(credentials)
        self._credentials = credentials
        for credential in removed & self._accesses.keys():
            self._accesses.pop(credential).revoked.set()
        ids = {"file": self._path, "credentials": len(credentials), "revoked": len(removed)}
        log.info("credentials reloaded", extra={"ids": ids})


def read_credentials(path: Path) -> tuple[Credential, ...]:
    """The credentials of a file. Raises ConfigError."""
    return _parse(path, _read(path))


def add_credential(path: Path, name: str, *, is_replacing: bool = False) -> str:
    """Write a new credential for the name into the file, which need not exist, and return its token.

    With `is_replacing` older ones of the name go. Raises ConfigError if the name has one otherwise, and for a wrong
    file.
    """
    token = new_token()
    credential = make_credential(name, token)
    lines = _lines(path) if path.exists() else []
    kept = _without(lines, name)
    if len(kept) < len(lines) and not is_replacing:
        raise ConfigError(f"{name!r} has a credential in {str(path)!r} already; replace or remove it")
    _write(path, [*kept, credential.line])
    return token


def remove_credential(path: Path, name: str) -> None:
    """Remove the name's credentials from the file. Raises ConfigError if there are none."""
    lines = _lines(path)
    kept = _without(lines, name)
    if len(kept) == len(lines):
        raise ConfigError(f"{name!r} has no credential in {str(path)!r}")
    _write(path, kept)


def _lines(path: Path) -> list[str]:
    """The lines of a file without a wrong one. Raises ConfigError."""
    contents = _read(path)
    _parse(path, contents)
    return contents.decode().splitlines()


def _without(lines: list[str], name: str) -> list[str]:
    parsed = [(line, parse_line(line, number)) for number, line in enumerate(lines, 1)]
    return [line for line, credential in parsed if credential is None or credential.name != name]


def _write(path: Path, lines: list[str]) -> None:
    """Replace the file in one step: a server that reads it sees the old or the new one. Raises ConfigError."""
    target = path.resolve()
    try:
        handle, unfinished = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.fchmod(handle, target.stat().st_mode & 0o777 if target.exists() else FILE_MODE)
            file.writelines(f"{line}\n" for line in lines)
        Path(unfinished).replace(target)
    except OSError as error:
        raise ConfigError(f"cannot write {str(path)!r}: {error}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {str(path)!r}: {error}") from error


def _parse(path: Path, contents: bytes) -> tuple[Credential, ...]:
    try:
        return parse_credentials(contents.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{str(path)!r} is not UTF-8: {error.reason}") from error
    except ConfigError as error:
        raise ConfigError(f"{str(path)!r}, {error}") from error

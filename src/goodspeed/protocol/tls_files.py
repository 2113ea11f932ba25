"""Checks PEM files of TLS before gRPC gets them: gRPC reports a wrong one late, and without its name."""

import ssl
from pathlib import Path

from goodspeed.errors import ConfigError


def read_pair(cert: str, key: str) -> tuple[bytes, bytes]:
    """The contents of the files of a private key and of its certificate chain.

    Raises ConfigError if one cannot be read or is no PEM file, or if they do not belong together.
    """
    pair = _read(key), _read(cert)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        reason = (isinstance(error, ssl.SSLError) and error.reason) or error
        raise ConfigError(f"{cert!r} and {key!r} are not a certificate and its private key: {reason}") from error
    return pair


def read_ca(ca: str) -> bytes:
    """The contents of a file of CA certificates. Raises ConfigError if it cannot be read or is no such file."""
    contents = _read(ca)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(ca)
    except ssl.SSLError as error:
        raise ConfigError(f"{ca!r} is not a file of CA certificates: {error.reason}") from error
    return contents


def _no_password() -> str:
    """Called for an encrypted key, which gRPC cannot read. Without it OpenSSL would ask at the terminal."""
    raise ValueError("the key is encrypted")


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path!r}: {error}") from error

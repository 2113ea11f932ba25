"""A token or key that a configuration holds, or a file that the configuration names."""

import codecs
from pathlib import Path

from goodspeed.errors import ConfigError


def read_secret(value: str, file: str, name: str) -> str:
    """The value of the key `name`, or the contents of the file of `name`_file; empty: neither is given.

    Raises ConfigError, without the secret.
    """
    if value and file:
        raise ConfigError(f"{name} and {name}_file are both given, expected one of them")
    if file:
        value = _contents(file)
        if not value:
            raise ConfigError(f"{file!r} is empty, expected a value for {name}")
    if not (value.isascii() and value.isprintable()):
        raise ConfigError(f"{name} has characters other than printable ASCII")
    return value


def _contents(file: str) -> str:
    try:
        contents = Path(file).read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {file!r}: {error}") from error
    # Editors and shells of Windows begin a file with a byte-order mark, and PowerShell's redirection writes UTF-16.
    encoding = "utf-16" if contents.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    return contents.decode(encoding, "replace").strip()

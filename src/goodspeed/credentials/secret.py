"""A token or key that a configuration holds, or a file that the configuration names."""

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
        return Path(file).read_bytes().decode("utf-8", "replace").strip()
    except OSError as error:
        raise ConfigError(f"cannot read {file!r}: {error}") from error

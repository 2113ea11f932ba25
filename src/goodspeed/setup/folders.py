"""The folder of a verifier or a drafter that `goodspeed init` makes: configuration and secrets."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from goodspeed.config import file_value, read_toml
from goodspeed.credentials.credentials_file import add_credential
from goodspeed.errors import ConfigError
from goodspeed.protocol.address import Address, parse_address
from goodspeed.setup.certificates import host_names, make_ca, make_server_certificate, read_pair
from goodspeed.setup.invitation import Invitation

SECRET, PUBLIC = 0o600, 0o644
FOLDER_MODE = 0o700


@dataclass(frozen=True, slots=True)
class VerifierFolder:
    """The files of a verifier."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "verifier.toml"

    @property
    def credentials(self) -> Path:
        return self.path / "drafters"

    @property
    def ca(self) -> tuple[Path, Path]:
        """Certificate and key."""
        return self.path / "ca.pem", self.path / "ca.key"

    @property
    def server(self) -> tuple[Path, Path]:
        """Certificate and key."""
        return self.path / "verifier.pem", self.path / "verifier.key"

    def set_up(self, host: str, port: int, model: str) -> None:
        """Make what is missing. A certificate for another host is replaced; a configuration stays as it is.

        `host` is the name or IP address by which drafters reach this machine. Raises ConfigError.
        """
        address = parse_address(str(Address(host, port)))
        self.path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        if not self.ca[0].exists():
            authority = make_ca(f"GoodSpeed CA of {host}")
            _write(self.ca[1], authority.key, SECRET)
            _write(self.ca[0], authority.certificate, PUBLIC)
        if not self.server[0].exists() or host not in host_names(self.server[0].read_bytes()):
            pair = make_server_certificate(read_pair(*self.ca), host)
            _write(self.server[1], pair.key, SECRET)
            _write(self.server[0], pair.certificate, PUBLIC)
        if not self.credentials.exists():
            _write(self.credentials, b"", SECRET)
        if not self.config.exists():
            _write(self.config, self._toml(address, model).encode(), PUBLIC)

    def invite(self, name: str, address: Address, *, is_replacing: bool) -> Invitation:
        """A credential for a drafter of this name. Raises ConfigError if it has one already, unless it is replaced."""
        model = file_value(read_toml(self.config), ("target", "model"))
        token = add_credential(self.credentials, name, is_replacing=is_replacing)
        return Invitation(name, str(address), str(model), token, self.ca[0].read_text(encoding="ascii"))

    def _toml(self, address: Address, model: str) -> str:
        certificate, key = (path.resolve() for path in self.server)
        return _toml(
            f"goodspeed verifier --config {self.config}",
            {
                "target": {"model": model},
                "grpc": {
                    "host": "::" if ":" in address.host else "0.0.0.0",
                    "port": address.port,
                    "tls_cert": str(certificate),
                    "tls_key": str(key),
                    "credentials": str(self.credentials.resolve()),
                },
            },
        )


@dataclass(frozen=True, slots=True)
class DrafterFolder:
    """The files of a drafter."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "drafter.toml"

    def set_up(self, invitation: Invitation, port: int, *, is_replacing: bool) -> None:
        """Write the configuration and the secrets. Raises ConfigError if there is a configuration, unless replaced."""
        if self.config.exists() and not is_replacing:
            raise ConfigError(f"{self.config} exists; --replace writes it again")
        self.path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        ca, token = self.path / "ca.pem", self.path / "token"
        _write(ca, invitation.ca.encode(), PUBLIC)
        _write(token, f"{invitation.token}\n".encode(), SECRET)
        tables: Mapping[str, Mapping[str, object]] = {
            "": {
                "name": invitation.name,
                "verifiers": [invitation.verifier],
                "port": port,
                "tokenizer": invitation.model,
            },
            "draft": {"engine": "hybrid"},
            "grpc": {"tls_ca": str(ca.resolve()), "token_file": str(token.resolve())},
        }
        _write(self.config, _toml(f"goodspeed drafter --config {self.config}", tables).encode(), PUBLIC)


def _write(path: Path, contents: bytes, mode: int) -> None:
    """Replace the file in one step; nobody reads a secret before it is protected. Raises ConfigError."""
    unfinished = path.with_name(f".{path.name}.part")
    try:
        unfinished.unlink(missing_ok=True)
        handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(contents)
        unfinished.replace(path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error


def _toml(command: str, tables: Mapping[str, Mapping[str, object]]) -> str:
    lines = [f"# {command}", "# Every key: goodspeed COMMAND --help, or the configuration reference."]
    for table, values in tables.items():
        lines += ["", f"[{table}]"] if table else []
        lines += [f"{key} = {_toml_value(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def _toml_value(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml_value, value))}]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)

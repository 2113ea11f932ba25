"""Folders that `goodspeed init` makes: what is there stays, and secrets are private."""

import stat
from pathlib import Path

import pytest

from goodspeed.config import from_mapping, read_toml
from goodspeed.credentials.credentials_file import CredentialsFile
from goodspeed.drafter.drafter_config import DrafterConfig
from goodspeed.errors import ConfigError
from goodspeed.protocol.address import Address
from goodspeed.setup.certificates import expiry, host_names, make_ca, make_server_certificate
from goodspeed.setup.folders import DrafterFolder, VerifierFolder
from goodspeed.setup.invitation import Invitation
from goodspeed.verifier.verifier_config import VerifierConfig

ADDRESS = Address("box.example.net", 7700)


def set_up(path: Path, host: str = ADDRESS.host) -> VerifierFolder:
    folder = VerifierFolder(path / "verifier")
    folder.set_up(host, ADDRESS.port, "smollm2-135m-instruct")
    return folder


def contents(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


def test_configurations_are_those_of_the_servers(tmp_path: Path) -> None:
    folder = set_up(tmp_path)
    verifier = from_mapping(VerifierConfig, read_toml(folder.config))
    assert (verifier.grpc.host, verifier.grpc.port) == ("0.0.0.0", 7700)
    assert Path(verifier.grpc.tls_cert).read_bytes() == folder.server[0].read_bytes()
    drafter = DrafterFolder(tmp_path / "drafter")
    drafter.set_up(folder.invite("laptop", ADDRESS, is_replacing=False), 8000, is_replacing=False)
    config = from_mapping(DrafterConfig, read_toml(drafter.config))
    assert (config.name, config.verifiers, config.draft.engine) == ("laptop", ("box.example.net:7700",), "hybrid")
    token = Path(config.grpc.token_file).read_text(encoding="ascii").strip()
    access = CredentialsFile(folder.credentials).admit(token.encode())
    assert access is not None
    assert access.name == "laptop"


def test_secrets_are_private(tmp_path: Path) -> None:
    folder = set_up(tmp_path)
    drafter = DrafterFolder(tmp_path / "drafter")
    drafter.set_up(folder.invite("laptop", ADDRESS, is_replacing=False), 8000, is_replacing=False)
    secrets = (folder.ca[1], folder.server[1], folder.credentials, drafter.path / "token")
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder.path, drafter.path)} == {0o700}


def test_second_run_changes_nothing(tmp_path: Path) -> None:
    before = contents(set_up(tmp_path).path)
    assert contents(set_up(tmp_path).path) == before


def test_new_host_gets_a_certificate_of_the_same_ca(tmp_path: Path) -> None:
    before = contents(set_up(tmp_path).path)
    after = contents(set_up(tmp_path, host="10.0.0.5").path)
    assert host_names(after["verifier.pem"]) == ["localhost", "10.0.0.5"]
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"verifier.pem", "verifier.key"}


def test_drafter_is_invited_once_unless_its_token_is_replaced(tmp_path: Path) -> None:
    folder = set_up(tmp_path)
    first = folder.invite("laptop", ADDRESS, is_replacing=False)
    with pytest.raises(ConfigError, match="has a credential"):
        folder.invite("laptop", ADDRESS, is_replacing=False)
    second = folder.invite("laptop", ADDRESS, is_replacing=True)
    credentials = CredentialsFile(folder.credentials)
    assert credentials.admit(first.token.encode()) is None
    assert credentials.admit(second.token.encode()) is not None


def test_drafters_configuration_is_not_overwritten(tmp_path: Path) -> None:
    folder = DrafterFolder(tmp_path)
    invitation = Invitation("laptop", "box:7700", "m", "one", "ca")
    folder.set_up(invitation, 8000, is_replacing=False)
    with pytest.raises(ConfigError, match="--replace"):
        folder.set_up(invitation, 8001, is_replacing=False)
    folder.set_up(invitation, 8001, is_replacing=True)
    assert read_toml(folder.config)["port"] == 8001


@pytest.mark.parametrize("host", ["box example", "http://box", ""])
def test_wrong_host_is_refused_before_anything_is_written(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match="expected host:port"):
        set_up(tmp_path, host)
    assert list(tmp_path.iterdir()) == []


def test_certificates_name_their_hosts_and_their_end() -> None:
    pair = make_server_certificate(make_ca("test"), "fd00::5")
    assert host_names(pair.certificate) == ["localhost", "fd00::5"]
    assert expiry(pair.certificate) < expiry(make_ca("test").certificate)
    with pytest.raises(ConfigError, match="no certificate"):
        expiry(b"nothing")

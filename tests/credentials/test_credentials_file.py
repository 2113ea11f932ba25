"""Credentials files: edited by a command, followed by running servers."""

import stat
from pathlib import Path

import pytest

from goodspeed.credentials.credentials_file import (
    POLL_S,
    Access,
    CredentialsFile,
    add_credential,
    read_credentials,
    remove_credential,
)
from goodspeed.errors import ConfigError


def names(path: Path) -> list[str]:
    return [credential.name for credential in read_credentials(path)]


def test_a_new_file_can_be_read_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "drafters"
    token = add_credential(path, "ann")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert token not in path.read_text()
    assert CredentialsFile(path).admit(token.encode()) == Access("ann")
    assert [*tmp_path.iterdir()] == [path], "no unfinished file is left"


def test_edits_keep_comments_order_and_permissions(tmp_path: Path) -> None:
    path = tmp_path / "drafters"
    path.write_text("# our drafters\n")
    path.chmod(0o640)
    for name in ("ann", "bob", "eve"):
        add_credential(path, name)
    remove_credential(path, "bob")
    assert names(path) == ["ann", "eve"]
    assert path.read_text().startswith("# our drafters\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_to_the_file_stays_a_link(tmp_path: Path) -> None:
    path, link = tmp_path / "drafters", tmp_path / "link"
    add_credential(path, "ann")
    link.symlink_to(path)
    add_credential(link, "bob")
    assert link.is_symlink()
    assert names(path) == ["ann", "bob"]


def test_a_second_token_needs_a_replacement_and_the_first_then_is_void(tmp_path: Path) -> None:
    path = tmp_path / "drafters"
    first = add_credential(path, "ann")
    with pytest.raises(ConfigError, match="'ann' has a credential"):
        add_credential(path, "ann")
    second = add_credential(path, "ann", is_replacing=True)
    file = CredentialsFile(path)
    assert file.admit(first.encode()) is None
    assert file.admit(second.encode()) == Access("ann")


def test_errors_name_the_file_and_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "drafters"
    with pytest.raises(ConfigError, match="cannot read"):
        CredentialsFile(path)
    with pytest.raises(ConfigError, match="cannot write"):
        add_credential(tmp_path / "no folder" / "drafters", "ann")
    path.write_text("a token by mistake\n")
    with pytest.raises(ConfigError, match=r"drafters', line 1 is not a credential"):
        add_credential(path, "ann")
    with pytest.raises(ConfigError, match="line 1"):
        remove_credential(path, "ann")
    assert path.read_text() == "a token by mistake\n"
    path.write_text("")
    with pytest.raises(ConfigError, match="'ann' has no credential"):
        remove_credential(path, "ann")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        CredentialsFile(path)


def polled(file: CredentialsFile, times: int = 2) -> None:
    for _ in range(times):
        file.poll()


def test_a_removed_credential_is_revoked_and_the_others_are_not(tmp_path: Path) -> None:
    path = tmp_path / "drafters"
    ann_token, bob_token = add_credential(path, "ann").encode(), add_credential(path, "bob").encode()
    file = CredentialsFile(path)
    ann, bob = file.admit(ann_token), file.admit(bob_token)
    assert ann is not None
    assert bob is not None
    remove_credential(path, "ann")
    polled(file)
    assert ann.revoked.is_set()
    assert file.admit(ann_token) is None
    assert file.admit(bob_token) is bob
    assert not bob.revoked.is_set()
    eve_token = add_credential(path, "eve").encode()
    polled(file)
    assert file.admit(eve_token) == Access("eve")


def test_a_replaced_token_revokes_the_access_that_the_old_one_gave(tmp_path: Path) -> None:
    path = tmp_path / "drafters"
    file_token = add_credential(path, "ann").encode()
    file = CredentialsFile(path)
    old = file.admit(file_token)
    assert old is not None
    new_token = add_credential(path, "ann", is_replacing=True).encode()
    polled(file)
    new = file.admit(new_token)
    assert new is not None
    assert old.revoked.is_set()
    assert not new.revoked.is_set()


@pytest.mark.parametrize("broken", ["a token by mistake\n", None])
def test_a_broken_or_missing_file_revokes_nobody(
    tmp_path: Path, broken: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    path = tmp_path / "drafters"
    token = add_credential(path, "ann").encode()
    file, good = CredentialsFile(path), path.read_text()
    access = file.admit(token)
    assert access is not None
    path.unlink() if broken is None else path.write_text(broken)
    polled(file, 10)
    assert [record.getMessage() for record in caplog.records] == ["credentials not reloaded"]
    assert "a token by mistake" not in str(vars(caplog.records[0]))
    assert file.admit(token) is access
    path.write_text(good)
    polled(file)
    assert caplog.records[-1].getMessage() == "credentials reloaded"
    assert not access.revoked.is_set()


def test_a_file_that_is_being_written_revokes_nobody(tmp_path: Path) -> None:
    """An editor truncates the file and writes it again: a reading in between has fewer lines."""
    path = tmp_path / "drafters"
    token = add_credential(path, "ann").encode()
    file, good = CredentialsFile(path), path.read_text()
    access = file.admit(token)
    assert access is not None
    for contents in ("", good, good[:80], good, ""):
        path.write_text(contents)
        polled(file, 1)
        assert not access.revoked.is_set()
    polled(file, 1)
    assert access.revoked.is_set(), "it stays empty"


def test_a_watched_file_takes_effect_within_a_second() -> None:
    assert 3 * POLL_S < 1.0, "a change is seen in one poll and taken in the next"


def test_reload_takes_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "drafters"
    token = add_credential(path, "ann").encode()
    file = CredentialsFile(path)
    access = file.admit(token)
    assert access is not None
    path.write_text("")
    file.reload()
    assert access.revoked.is_set()
    assert file.admit(token) is None

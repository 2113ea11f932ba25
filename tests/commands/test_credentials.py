"""`goodspeed credentials`."""

from pathlib import Path

import pytest

from goodspeed.cli import main
from goodspeed.credentials.credentials_file import CredentialsFile


def test_a_token_is_shown_once_and_admits_its_name_until_it_is_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "drafters"
    file = ["--file", str(path)]
    assert main(["credentials", "add", "laptop of ann", *file]) == 0
    token = capsys.readouterr().out.strip()
    assert main(["credentials", "add", "bob", *file]) == 0
    capsys.readouterr()
    access = CredentialsFile(path).admit(token.encode())
    assert access
    assert access.name == "laptop of ann"
    assert main(["credentials", "list", *file]) == 0
    assert capsys.readouterr().out == "bob\nlaptop of ann\n"
    assert main(["credentials", "remove", "laptop of ann", *file]) == 0
    assert CredentialsFile(path).admit(token.encode()) is None


def test_what_cannot_be_done_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = ["--file", str(tmp_path / "drafters")]
    assert main(["credentials", "add", "ann", *file]) == 0
    assert main(["credentials", "add", "ann", *file]) == 2
    assert "replace or remove it" in capsys.readouterr().err
    assert main(["credentials", "add", "ann", "--replace", *file]) == 0
    assert main(["credentials", "remove", "bob", *file]) == 2
    assert "'bob' has no credential" in capsys.readouterr().err

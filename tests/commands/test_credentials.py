"""`goodspeed credentials`."""

import signal
import time
from pathlib import Path

import httpx
import pytest
from tests.commands.processes import server

from goodspeed.cli import main
from goodspeed.credentials.credentials_file import CredentialsFile, add_credential, remove_credential
from goodspeed.drafter.drafter_config import TOY


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


def test_running_servers_follow_their_files_and_reload_them_on_sighup(tmp_path: Path) -> None:
    """A drafter is revoked, and connects again with the token that its own file then has."""
    drafters, keys, token = tmp_path / "drafters", tmp_path / "keys", tmp_path / "token"
    token.write_text(add_credential(drafters, "edge"))
    key = add_credential(keys, "ann")
    verifier_flags = ("--engine", TOY, "--grpc.port", "0", "--metrics-port", "0", "--grpc.credentials", str(drafters))
    with server(tmp_path, "verifier", *verifier_flags) as (verifier, ports):
        drafter_flags = (
            *("--name", "edge", "--verifiers", f"127.0.0.1:{ports['port']}", "--draft.engine", TOY, "--port", "0"),
            *("--grpc.token-file", str(token), "--api-credentials", str(keys), "--retry.backoff-max-s", "0.2"),
        )
        with (
            server(tmp_path, "drafter", *drafter_flags) as (drafter, drafter_ports),
            httpx.Client(base_url=f"http://127.0.0.1:{drafter_ports['port']}", trust_env=False) as client,
        ):

            def wait_for(status: int, page: str = "/health", secret: str = "none") -> httpx.Response:
                headers = {"authorization": f"Bearer {secret}"}
                while (reply := client.get(page, headers=headers)).status_code != status:
                    time.sleep(0.01)
                return reply

            wait_for(200)
            wait_for(200, "/v1/models", key)
            remove_credential(drafters, "edge")
            assert "revoked" in wait_for(503).json()["reason"]
            token.write_text(add_credential(drafters, "edge"))
            wait_for(200)
            remove_credential(drafters, "edge")
            remove_credential(keys, "ann")
            for process in (verifier, drafter):
                process.send_signal(signal.SIGHUP)
            wait_for(503)
            wait_for(401, "/v1/models", key)
            assert (verifier.poll(), drafter.poll()) == (None, None)

"""No secret is in a log, an event log, a metric, a page, or the list of processes."""

import asyncio
from pathlib import Path

import httpx
import psutil
import pytest
from tests.commands.processes import server

from goodspeed.cli import main
from goodspeed.credentials.credentials_file import add_credential
from goodspeed.drafter.drafter_config import TOY
from goodspeed.engine.toy_target import toy_info
from goodspeed.errors import ProtocolError
from goodspeed.protocol.grpc_client import grpc_connect
from goodspeed.protocol.grpc_config import GrpcClientConfig
from goodspeed.protocol.messages import PROTOCOL_VERSION, Hello, Refused

BODY = {"model": "default", "prompt": "x", "max_tokens": 5, "temperature": 0}


async def call_with_wrong_secrets(port: int, tokens: dict[str, str]) -> None:
    """A token that is not known, and a foreign client that also puts its token into its Hello."""
    address = f"127.0.0.1:{port}"
    with pytest.raises(ProtocolError):
        await grpc_connect(address, GrpcClientConfig(token=tokens["unknown"]))()
    connection = await grpc_connect(address, GrpcClientConfig(token=tokens["foreign"]))()
    await connection.send(
        [Hello(PROTOCOL_VERSION, "another's name", toy_info().tokenizer_fingerprint, tokens["foreign"])]
    )
    first, *_ = await connection.receive()
    assert isinstance(first, Refused)
    await connection.close()


def test_secrets_are_shown_nowhere(tmp_path: Path) -> None:
    drafters, keys = tmp_path / "drafters", tmp_path / "keys"
    secrets = {name: add_credential(drafters, name) for name in ("edge", "foreign")}
    secrets["ann"] = add_credential(keys, "ann")
    secrets |= {"operator": "operator-key-0123456789", "unknown": "unknown-token-0123456789"}
    (tmp_path / "token").write_text(secrets["edge"])
    (tmp_path / "operator").write_text(secrets["operator"])
    shown: dict[str, str] = {}
    verifier_flags = ("--engine", TOY, "--grpc.port", "0", "--metrics-port", "0", "--grpc.credentials", str(drafters))
    with server(tmp_path, "verifier", *verifier_flags) as (verifier, ports):
        asyncio.run(call_with_wrong_secrets(ports["port"], secrets))
        drafter_flags = (
            *("--name", "edge", "--verifiers", f"127.0.0.1:{ports['port']}", "--draft.engine", TOY, "--port", "0"),
            *("--grpc.token-file", str(tmp_path / "token"), "--api-key-file", str(tmp_path / "operator")),
            *("--api-credentials", str(keys), "--traffic-log", str(tmp_path / "traffic.jsonl")),
        )
        with server(tmp_path, "drafter", *drafter_flags) as (drafter, drafter_ports):
            url = f"http://127.0.0.1:{drafter_ports['port']}"
            with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
                for name, status in {"ann": 200, "operator": 200, "unknown": 401}.items():
                    headers = {"authorization": f"Bearer {secrets[name]}"}
                    reply = client.post("/v1/completions", json=BODY, headers=headers)
                    assert reply.status_code == status, reply.text
                    shown[f"answer to {name}"] = reply.text
                    shown[f"administration for {name}"] = client.get("/admin/draft", headers=headers).text
                for page in ("/metrics", "/health"):
                    shown[f"drafter {page}"] = client.get(page).text
            shown["verifier /metrics"] = httpx.get(f"http://127.0.0.1:{ports['metrics_port']}", trust_env=False).text
            for name, process in {"verifier": verifier, "drafter": drafter}.items():
                shown[f"ps of {name}"] = " ".join(psutil.Process(process.pid).cmdline())
    written = [path for path in tmp_path.iterdir() if path.name not in {"token", "operator"}]
    shown |= {path.name: path.read_text() for path in written}
    assert {"verifier.log", "verifier.jsonl", "drafter.log", "drafter.jsonl", "traffic.jsonl"} <= shown.keys()
    assert "another's name" in shown["verifier.jsonl"]
    assert "call refused" in shown["verifier.log"]
    assert 'key="ann"' in shown["drafter /metrics"]
    found = [(name, place) for name, secret in secrets.items() for place, text in shown.items() if secret in text]
    assert found == []


def test_a_secret_on_the_command_line_is_warned_of_without_showing_it(capfd: pytest.CaptureFixture[str]) -> None:
    flags = ["--grpc.token", "t0ken-on-the-line", "--grpc.tls-cert", "/nowhere", "--grpc.tls-key", "/nowhere"]
    assert main(["verifier", *flags]) == 2
    error = capfd.readouterr().err
    assert "a secret is on the command line" in error
    assert "flag=--grpc.token instead=--grpc.token-file" in error
    assert "t0ken-on-the-line" not in error


@pytest.mark.parametrize("toml", ['api_key = ["s3cret"]', "api_key = 53827", '[grpc]\ntoken = {a = "s3cret"}'])
def test_a_wrong_value_of_a_secret_is_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str], toml: str) -> None:
    path = tmp_path / "drafter.toml"
    path.write_text(toml)
    assert main(["drafter", "--config", str(path)]) == 2
    error = capsys.readouterr().err
    assert "is not a string" in error
    assert "s3cret" not in error
    assert "53827" not in error

"""What cannot work is reported before a model is loaded: here the models do not exist, and nobody notices."""

import socket
from pathlib import Path

import pytest

from goodspeed.cli import main

MISSING = ["--target.model", "/no/such/model"]
TLS = ["--grpc.tls-cert", "cert.pem", "--grpc.tls-key", "key.pem"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verifier", *MISSING, "--grpc.token-file", "secrets/token"], "cannot read 'secrets/token'"),
        (["verifier", *MISSING, *TLS], "cannot read 'key.pem'"),
        (["verifier", *MISSING, "--grpc.credentials", "secrets/drafters"], "cannot read 'secrets/drafters'"),
        (["verifier", *MISSING, "--grpc.credentials", "a", "--grpc.token-file", "b"], "grpc.credentials and a shared"),
        (["drafter", "--tokenizer", "/no/such/model", "--api-credentials", "secrets/keys"], "'secrets/keys'"),
        (["drafter", "--tokenizer", "/no/such/model", "--api-key-file", "/dev/null"], "expected a value for api_key"),
        (["verifier", *MISSING, "--grpc.port", "70000"], "grpc.port is 70000, expected 0 to 65535"),
        (["verifier", *MISSING, "--metrics-port", "70000"], "metrics_port is 70000, expected 0 to 65535"),
        (["verifier", *MISSING, "--grpc.port", "{taken}"], "cannot listen on 127.0.0.1:{taken}"),
        (["verifier", *MISSING, "--metrics-port", "{taken}", "--grpc.port", "0"], "cannot listen on 127.0.0.1:{taken}"),
        (
            ["verifier", *MISSING, "--grpc.port", "0", "--metrics-port", "0", "--event-log", "/dev/null/log"],
            "/dev/null/log",
        ),
        (["drafter", "--tokenizer", "/no/such/model", "--grpc.token-file", "secrets/token"], "'secrets/token'"),
        (
            ["drafter", "--tokenizer", "/no/such/model", "--port", "0", "--traffic-log", "/dev/null/log"],
            "/dev/null/log",
        ),
        (["drafter", "--tokenizer", "/no/such/model", "--port", "70000"], "port is 70000, expected 0 to 65535"),
        (["drafter", "--tokenizer", "/no/such/model", "--port", "{taken}"], "cannot listen on 127.0.0.1:{taken}"),
        (
            ["drafter", "--tokenizer", "/no/such/model", "--verifiers", "http://127.0.0.1:7700"],
            "verifiers: expected host:port with a port of 1 to 65535, without a scheme or path",
        ),
        (["up", "--port", "70000"], "port is 70000, expected 0 to 65535"),
        (["up", "--port", "65534", "--verifier-port", "0", "--metrics-port", "0"], "need ports up to 65537"),
        (["up", "--verifier-port", "{taken}"], "cannot listen on 127.0.0.1:{taken}"),
    ],
)
def test_error_is_named_before_a_model_is_loaded(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main([argument.replace("{taken}", port) for argument in arguments]) == 2
    shown = capsys.readouterr().err
    assert message.replace("{taken}", port) in shown
    assert "Traceback" not in shown

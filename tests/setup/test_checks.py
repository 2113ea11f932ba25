"""`goodspeed doctor` finds what is wrong before a server starts."""

import asyncio
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from goodspeed.config import from_mapping, read_toml
from goodspeed.drafter.drafter_config import DrafterConfig
from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.protocol.address import Address
from goodspeed.protocol.grpc_config import GrpcServerConfig
from goodspeed.protocol.grpc_server import serve_grpc
from goodspeed.setup.checks import Check, drafter_checks, verifier_checks
from goodspeed.setup.folders import DrafterFolder, VerifierFolder
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.server import VerifierServer
from goodspeed.verifier.verifier_config import VerifierConfig


@pytest.fixture
def folder(tmp_path: Path) -> VerifierFolder:
    made = VerifierFolder(tmp_path / "verifier")
    made.set_up("127.0.0.1", 7700, "smollm2-135m-instruct")
    return made


def verifier_config(folder: VerifierFolder) -> VerifierConfig:
    """Of a toy engine, on free ports."""
    config = from_mapping(VerifierConfig, read_toml(folder.config))
    return replace(config, engine="toy", grpc=replace(config.grpc, port=0), metrics_port=0)


def drafter_config(folder: VerifierFolder, port: int) -> DrafterConfig:
    drafter = DrafterFolder(folder.path.parent / "drafter")
    drafter.set_up(folder.invite("laptop", Address("127.0.0.1", port), is_replacing=True), 8000, is_replacing=True)
    return replace(from_mapping(DrafterConfig, read_toml(drafter.config)), tokenizer="toy", port=0)


def wrong(checks: list[Check]) -> dict[str, str]:
    return {check.name: check.detail for check in checks if not check.is_ok or check.is_warning}


async def checked(folder: VerifierFolder, grpc: GrpcServerConfig, config: DrafterConfig | None = None) -> list[Check]:
    """The checks of a drafter beside a running verifier with this gRPC configuration."""
    wanted = config or drafter_config(folder, 7700)
    server = VerifierServer(VerifierCoreConfig(), ToyTarget(toy_info()))
    running = asyncio.create_task(server.run())
    serving = await serve_grpc(server.serve, grpc)
    try:
        checks = [check async for check in drafter_checks(replace(wanted, verifiers=(f"127.0.0.1:{serving.port}",)))]
        assert server.stats().load.open_streams == 0
        return checks
    finally:
        await serving.stop(0)
        await server.close()
        await running


def test_new_verifier_is_in_order(folder: VerifierFolder) -> None:
    assert wrong(list(verifier_checks(verifier_config(folder)))) == {}


def test_open_key_and_a_port_in_use_are_found(folder: VerifierFolder) -> None:
    folder.server[1].chmod(0o644)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = wrong(list(verifier_checks(replace(verifier_config(folder), metrics_port=port))))
    assert found["secrets"].endswith("chmod 600")
    assert f"127.0.0.1:{port}" in found["metrics"]


def test_missing_file_and_missing_certificate_are_found(folder: VerifierFolder) -> None:
    folder.credentials.unlink()
    found = wrong(list(verifier_checks(verifier_config(folder))))
    assert "does not exist" in found["secrets"]
    assert "drafters" in found["gRPC"]
    open_to_all = VerifierConfig(engine="toy", grpc=GrpcServerConfig(host="0.0.0.0", port=0), metrics_port=0)
    assert "travels in the clear" in wrong(list(verifier_checks(open_to_all)))["certificate"]


def test_invited_drafter_is_admitted(folder: VerifierFolder) -> None:
    checks = asyncio.run(checked(folder, verifier_config(folder).grpc))
    assert wrong(checks) == {}
    assert "round-trip time" in checks[-1].detail


def test_revoked_drafter_is_told_what_to_do(folder: VerifierFolder) -> None:
    config = drafter_config(folder, 7700)
    folder.invite("laptop", Address("127.0.0.1", 7700), is_replacing=True)
    (reason,) = wrong(asyncio.run(checked(folder, verifier_config(folder).grpc, config))).values()
    assert reason.endswith("ask its operator for an invitation")


def test_verifier_without_tls_is_named(folder: VerifierFolder) -> None:
    (reason,) = wrong(asyncio.run(checked(folder, GrpcServerConfig(port=0)))).values()
    assert "does not use TLS" in reason


def test_verifier_that_does_not_run_is_named(folder: VerifierFolder) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        config = drafter_config(folder, unused.getsockname()[1])

        async def checks() -> list[Check]:
            return [check async for check in drafter_checks(config)]

        (reason,) = wrong(asyncio.run(checks())).values()
    assert "Connection refused" in reason

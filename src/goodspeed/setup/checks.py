"""What can be wrong with a configuration, a machine and a network, found before a server starts."""

import asyncio
import socket
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from goodspeed.drafter.drafter_config import TOY, DrafterConfig
from goodspeed.engine.auto_target import AUTO, LLAMA, TORCH, choose_engine
from goodspeed.errors import ErrorCode, GoodSpeedError, ProtocolError
from goodspeed.models.catalog import locate_tokenizer
from goodspeed.protocol.address import Address, check_port_is_free, parse_address
from goodspeed.protocol.grpc_client import grpc_connect
from goodspeed.protocol.grpc_config import GrpcClientConfig, GrpcServerConfig
from goodspeed.protocol.grpc_server import check_grpc
from goodspeed.protocol.link_config import LinkConfig
from goodspeed.setup.certificates import expiry, host_names
from goodspeed.verifier.verifier_config import VerifierConfig

EXPIRES_SOON = timedelta(days=30)
NUM_TRIALS = 5
"""Connections by which the round-trip time is measured."""
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Check:
    """What was checked, and how it is."""

    name: str
    detail: str
    is_ok: bool = True
    is_warning: bool = False
    """It works, but not for long or not well."""


def verifier_checks(config: VerifierConfig) -> Iterator[Check]:
    """The files, certificates, ports, model and memory of a verifier. Nothing is loaded."""
    yield _checked("gRPC", lambda: _grpc(config.grpc))
    yield _checked("metrics", lambda: _port(config.metrics_host, config.metrics_port))
    yield from _secrets(config.grpc.tls_key, config.grpc.token_file, config.grpc.credentials)
    if config.grpc.tls_cert:
        yield _checked("certificate", lambda: _certificate(Path(config.grpc.tls_cert)))
    elif not Address(config.grpc.host, config.grpc.port).is_loopback:
        yield Check("certificate", "none: what users write travels in the clear", is_warning=True)
    if config.engine in {AUTO, TORCH, LLAMA}:
        yield _checked("model", lambda: _located(config.target.model))
    if config.engine == AUTO:
        yield _checked("engine", lambda: "{}: {}".format(*choose_engine(config.target)))
    yield _memory(config)


async def drafter_checks(config: DrafterConfig) -> AsyncIterator[Check]:
    """The files, port and tokenizer of a drafter, and every verifier: address, certificate, token, round-trip time.

    No session is opened: a running drafter of this name keeps its own.
    """
    yield _checked("HTTP", lambda: _port(config.host, config.port))
    for check in _secrets(config.grpc.tls_key, config.grpc.token_file):
        yield check
    if config.tokenizer_model != TOY:
        yield _checked("tokenizer", lambda: _located(config.tokenizer_model))
    for address in config.verifiers:
        yield await _verifier(address, config.grpc)


def _checked(name: str, check: Callable[[], Check | str]) -> Check:
    try:
        result = check()
    except (GoodSpeedError, OSError) as error:
        return Check(name, str(error), is_ok=False)
    return result if isinstance(result, Check) else Check(name, result)


def _grpc(config: GrpcServerConfig) -> str:
    check_grpc(config)
    return f"port {config.port} is free"


def _port(host: str, port: int) -> str:
    check_port_is_free(Address(host, port))
    return f"port {port} is free"


def _located(model: str) -> str:
    return f"{model} is at {locate_tokenizer(model)}"


def _secrets(*paths: str) -> Iterator[Check]:
    for path in (Path(path) for path in paths if path):
        if not path.exists():
            yield Check("secrets", f"{path} does not exist", is_ok=False)
        elif path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            yield Check("secrets", f"other users of this machine can read {path}: chmod 600", is_warning=True)
        else:
            yield Check("secrets", f"{path} is readable by its owner alone")


def _certificate(path: Path) -> Check:
    pem = path.read_bytes()
    until, names = expiry(pem), ", ".join(host_names(pem)) or "no host"
    remaining = until - datetime.now(UTC)
    if remaining < timedelta(0):
        return Check("certificate", f"{path} expired on {until:%Y-%m-%d}", is_ok=False)
    return Check("certificate", f"{path} is for {names}, until {until:%Y-%m-%d}", is_warning=remaining < EXPIRES_SOON)


def _memory(config: VerifierConfig) -> Check:
    available, needed = psutil.virtual_memory().available // MIB, config.target.kv_memory_mb
    detail = f"{available} MB are free; the KV cache takes {needed} MB, and the model its size"
    return Check("memory", detail, is_ok=available > needed)


async def _verifier(address: str, config: GrpcClientConfig) -> Check:
    """Connects without an emulated link, as far as the verifier's admission."""
    name = f"verifier {address}"
    try:
        host = parse_address(address)
        await asyncio.get_running_loop().getaddrinfo(host.host, host.port, type=socket.SOCK_STREAM)
        connect = grpc_connect(address, replace(config, link=LinkConfig()))
        connection = await connect()
        await connection.close()
        round_trip_s = min([await _round_trip_s(host) for _ in range(NUM_TRIALS)])
    except socket.gaierror as error:
        return Check(name, f"the name cannot be resolved: {error.strerror}", is_ok=False)
    except ProtocolError as error:
        hint = "; ask its operator for an invitation" if error.code is ErrorCode.UNAUTHENTICATED else ""
        return Check(name, f"{error}{hint}", is_ok=False)
    except (GoodSpeedError, OSError) as error:
        return Check(name, str(error), is_ok=False)
    return Check(name, f"admits this drafter; round-trip time {1000 * round_trip_s:.1f} ms")


async def _round_trip_s(address: Address) -> float:
    """Time in which a TCP connection is made."""
    started_s = time.perf_counter()
    _, writer = await asyncio.open_connection(address.host, address.port)
    elapsed_s = time.perf_counter() - started_s
    writer.close()
    return elapsed_s

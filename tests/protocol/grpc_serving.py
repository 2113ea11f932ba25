"""A gRPC server on loopback, and one exchange with it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from goodspeed.errors import LinkLostError, ProtocolError
from goodspeed.protocol.grpc_client import grpc_connect
from goodspeed.protocol.grpc_config import GrpcClientConfig, GrpcServerConfig
from goodspeed.protocol.grpc_server import GrpcServer, serve_grpc
from goodspeed.protocol.messages import Cancel, Error, Opened
from goodspeed.protocol.transport import Accept, Connection

TLS = Path(__file__).parent / "tls"


async def answer(connection: Connection) -> None:
    """A verifier that replies to Cancel with Opened, and to bytes that are no messages with an Error."""
    try:
        while True:
            try:
                received = await connection.receive()
                await connection.send([Opened(item.stream, 0) for item in received if isinstance(item, Cancel)])
            except ProtocolError as error:
                await connection.send([Error(error.code, str(error), error.stream)])
    except LinkLostError:
        return


@asynccontextmanager
async def serving(config: GrpcServerConfig, accept: Accept = answer) -> AsyncIterator[GrpcServer]:
    server = await serve_grpc(accept, config)
    try:
        yield server
    finally:
        await server.stop(0)


async def talk(port: int, config: GrpcClientConfig, host: str = "127.0.0.1") -> None:
    """One exchange; raises what connecting raises."""
    connection = await grpc_connect(f"{host}:{port}", config)()
    await connection.send([Cancel(4, 0)])
    assert await connection.receive() == [Opened(4, 0)]
    await connection.close()


def path_of(name: str) -> str:
    return str(TLS / name)


def tls_server(**more: Any) -> GrpcServerConfig:
    return GrpcServerConfig(port=0, tls_cert=path_of("server.pem"), tls_key=path_of("server.key"), **more)

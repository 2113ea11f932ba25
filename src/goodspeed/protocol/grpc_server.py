"""The verifier's gRPC server: one bidirectional stream per drafter, health checking, reflection, TLS, credentials."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from goodspeed.credentials.credentials_file import CredentialsFile
from goodspeed.errors import ConfigError, ErrorCode, ProtocolError
from goodspeed.protocol.address import Address, check_port_is_free
from goodspeed.protocol.codec import decode_drafter_frame
from goodspeed.protocol.connection import FramedConnection, QueueLimits
from goodspeed.protocol.grpc_admission import GrpcAdmission
from goodspeed.protocol.grpc_config import (
    ADMITTED_KEY,
    METHOD,
    SERVICE,
    GrpcServerConfig,
    channel_options,
    server_credentials,
)
from goodspeed.protocol.messages import PROTOCOL_VERSION
from goodspeed.protocol.rpc_pipe import RpcPipe
from goodspeed.protocol.transport import Accept, Connection, PeerIdentity

log = logging.getLogger(__name__)


class GrpcServer:
    """A listening server. Its health is SERVING until stop() is called."""

    def __init__(
        self,
        server: grpc.aio.Server,
        port: int,
        health_servicer: health.aio.HealthServicer,
        credentials: CredentialsFile | None,
    ) -> None:
        self.port = port
        self.credentials = credentials
        """Drafters' credentials, which follow their file; None: drafters need none of their own."""
        self._server = server
        self._health = health_servicer
        self._watching = asyncio.create_task(credentials.watch()) if credentials else None

    async def stop(self, grace_s: float) -> None:
        """Accept no more calls, let the open ones end for `grace_s` seconds, then cancel those that remain."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_s)
        if self._watching:
            self._watching.cancel()
            await asyncio.wait({self._watching})


async def serve_grpc(
    accept: Accept, config: GrpcServerConfig, on_refused: Callable[[ErrorCode], None] = lambda _: None
) -> GrpcServer:
    """Listen on the config's port, and call `accept` for each drafter that connects, `on_refused` for any other call.

    The server must be stopped before the event loop ends, or the process hangs.

    Raises ConfigError if the port or a file cannot be used.
    """
    server = grpc.aio.server(options=channel_options(config.keepalive_s))
    admission = GrpcAdmission(config)
    connector = _Connector(accept, config, admission, on_refused)
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(connector.connect)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler})])
    health_servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    reflection.enable_server_reflection([SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    port = _bind(server, config)
    await server.start()
    for name in ("", SERVICE):
        await health_servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    return GrpcServer(server, port, health_servicer, admission.credentials)


def check_grpc(config: GrpcServerConfig) -> None:
    """Raises ConfigError if serve_grpc could not use the port, the token or a file. It takes no time."""
    GrpcAdmission(config)
    server_credentials(config)
    check_port_is_free(Address(config.host, config.port))


def _bind(server: grpc.aio.Server, config: GrpcServerConfig) -> int:
    address = str(Address(config.host, config.port))
    credentials = server_credentials(config)
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise ConfigError(f"cannot listen on {address}: {error}") from error


class _Connector:
    """Admits gRPC calls and turns them into connections for `accept`."""

    def __init__(
        self,
        accept: Accept,
        config: GrpcServerConfig,
        admission: GrpcAdmission,
        on_refused: Callable[[ErrorCode], None],
    ) -> None:
        self._accept = accept
        self._config = config
        self._admission = admission
        self._on_refused = on_refused
        self._num_open = 0

    async def connect(self, _requests: Any, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        """Handler of the Connect method; returns when `accept` has returned."""
        identity = await self._admit(context)
        self._num_open += 1
        try:
            await context.send_initial_metadata(((ADMITTED_KEY, str(PROTOCOL_VERSION)),))
            await self._serve(context, identity)
        finally:
            self._num_open -= 1

    async def _admit(self, context: grpc.aio.ServicerContext[bytes, bytes]) -> PeerIdentity:
        try:
            identity = self._admission.identify(context)
        except ProtocolError as error:
            log.warning("call refused", extra={"ids": {"peer": context.peer(), "reason": error}})
            self._on_refused(error.code)
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, str(error))
        if self._num_open >= self._config.max_connections:
            self._on_refused(ErrorCode.CAPACITY)
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{self._num_open} drafters are connected already")
        return identity

    async def _serve(self, context: grpc.aio.ServicerContext[bytes, bytes], identity: PeerIdentity) -> None:
        pipe = RpcPipe(context)
        limits = QueueLimits(stall_s=self._config.stall_s)
        connection = FramedConnection(pipe, decode_drafter_frame, context.peer(), limits, identity)
        serving = asyncio.create_task(self._run(connection))
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:  # the drafter has left, or the grace period of stop() is over
            pipe.abort("the peer ended the call")
            await serving
            raise
        if pipe.aborted is not None:
            await context.abort(grpc.StatusCode.UNAVAILABLE, pipe.aborted)

    async def _run(self, connection: Connection) -> None:
        try:
            await self._accept(connection)
        finally:
            await connection.close()

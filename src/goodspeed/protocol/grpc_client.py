"""The drafter's end of the gRPC transport."""

import asyncio
import os

import grpc

from goodspeed.errors import ConfigError, ErrorCode, LinkLostError, ProtocolError
from goodspeed.protocol.address import Address, parse_address
from goodspeed.protocol.codec import decode_verifier_frame
from goodspeed.protocol.connection import FramedConnection, Pipe, QueueLimits
from goodspeed.protocol.grpc_config import (
    ADMITTED_KEY,
    METHOD,
    SERVICE,
    GrpcClientConfig,
    bearer_token,
    channel_credentials,
    channel_options,
)
from goodspeed.protocol.link_config import LinkConfig
from goodspeed.protocol.link_shaper import make_link_shapers
from goodspeed.protocol.rpc_pipe import RPC_ERRORS, RpcPipe, describe_rpc_error
from goodspeed.protocol.shaped_pipe import ShapedPipe
from goodspeed.protocol.transport import Connect, Connection

PROXY_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")
"""Environment variables of gRPC, the first one that is set counts. Connections to this machine never use a proxy."""

Call = grpc.aio.StreamStreamCall[bytes, bytes]


def grpc_connect(address: str, config: GrpcClientConfig) -> Connect:
    """A function that connects to the verifier at "host:port".

    Raises ConfigError if the address is wrong or a file cannot be read.
    """
    parsed = parse_address(address)
    target = str(parsed)
    _secrets(config)
    options = channel_options(config.keepalive_s)
    if parsed.is_loopback:
        options.append(("grpc.enable_http_proxy", 0))

    async def connect() -> Connection:
        try:
            token, credentials = _secrets(config)  # the files may have changed
        except ConfigError as error:
            raise LinkLostError(str(error)) from error
        if credentials is None:
            channel = grpc.aio.insecure_channel(target, options)
        else:
            channel = grpc.aio.secure_channel(target, credentials, options)
        try:
            call = await _start_call(channel, token, config.connect_timeout_s)
        except LinkLostError as error:
            await channel.close()
            raise LinkLostError(f"{error}{_hint(str(error), parsed, credentials is not None)}") from error
        except BaseException:
            await channel.close()
            raise
        pipe = _shaped(_ClientPipe(channel, call), config)
        return FramedConnection(pipe, decode_verifier_frame, address, QueueLimits(stall_s=config.stall_s))

    return connect


def _secrets(config: GrpcClientConfig) -> tuple[str, grpc.ChannelCredentials | None]:
    """The token and the TLS credentials, as their files are now. Raises ConfigError."""
    return bearer_token(config), channel_credentials(config)


def _hint(reason: str, address: Address, has_tls: bool) -> str:
    """What the user may have to change, if gRPC's reason suggests it."""
    if not has_tls and "Socket closed" in reason:
        return "; the verifier may use TLS: set grpc.tls or grpc.tls_ca"
    if has_tls and "WRONG_VERSION_NUMBER" in reason:
        return "; the verifier does not use TLS"
    proxy = next((name for name in PROXY_VARIABLES if os.environ.get(name)), None)
    return f"; {proxy} sets a proxy: no_proxy can exempt {address.host}" if proxy and not address.is_loopback else ""


async def _start_call(channel: grpc.aio.Channel, token: str, timeout_s: float) -> Call:
    """A call that the verifier has admitted. Raises LinkLostError, or ProtocolError if it refuses the call."""
    method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(f"/{SERVICE}/{METHOD}")
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    call = method(metadata=metadata)
    try:
        async with asyncio.timeout(timeout_s):
            is_admitted = ADMITTED_KEY in dict(await call.initial_metadata() or ())
            refusal = None if is_admitted else await _refusal(call)
    except TimeoutError:
        raise LinkLostError(f"no reply within {timeout_s:g} s") from None
    except RPC_ERRORS as error:
        raise LinkLostError(describe_rpc_error(error)) from error
    if refusal is not None:
        raise refusal
    return call


async def _refusal(call: Call) -> ProtocolError | LinkLostError:
    code, details = await call.code(), await call.details()
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return ProtocolError(ErrorCode.UNAUTHENTICATED, details)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return ProtocolError(ErrorCode.CAPACITY, details)
    return LinkLostError(f"cannot connect: {code.name}: {details}")


def _shaped(pipe: Pipe, config: GrpcClientConfig) -> Pipe:
    if config.link == LinkConfig():
        return pipe
    return ShapedPipe(pipe, *make_link_shapers(config.link, config.link_seed, asyncio.get_running_loop().time()))


class _ClientPipe(RpcPipe):
    """A pipe that owns its call and its channel."""

    def __init__(self, channel: grpc.aio.Channel, call: Call) -> None:
        super().__init__(call)
        self._channel = channel
        self._call = call
        self._closing: asyncio.Task[None] | None = None

    async def finish(self) -> None:
        """Half-close, wait until the verifier ends the call, and close the channel."""
        try:
            await self._call.done_writing()
        except RPC_ERRORS as error:
            raise LinkLostError(describe_rpc_error(error)) from error
        await self._call.code()
        await super().finish()
        await self._channel.close()

    def abort(self, reason: str) -> None:
        super().abort(reason)
        if self._closing is None:
            self._call.cancel()
            self._closing = asyncio.create_task(self._channel.close())

"""The drafter's end of the gRPC transport."""

import asyncio

import grpc

from goodspeed.errors import ErrorCode, LinkLostError, ProtocolError
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

Call = grpc.aio.StreamStreamCall[bytes, bytes]


def grpc_connect(address: str, config: GrpcClientConfig) -> Connect:
    """A function that connects to the verifier at "host:port". Raises ConfigError if a file cannot be read."""
    token = bearer_token(config)
    credentials = channel_credentials(config)
    options = channel_options(config.keepalive_s)

    async def connect() -> Connection:
        if credentials is None:
            channel = grpc.aio.insecure_channel(address, options)
        else:
            channel = grpc.aio.secure_channel(address, credentials, options)
        try:
            call = await _start_call(channel, token, config.connect_timeout_s)
        except BaseException:
            await channel.close()
            raise
        pipe = _shaped(_ClientPipe(channel, call), config)
        return FramedConnection(pipe, decode_verifier_frame, address, QueueLimits(stall_s=config.stall_s))

    return connect


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

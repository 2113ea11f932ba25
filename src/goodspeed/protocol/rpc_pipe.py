"""A pipe over one gRPC call, for both ends. It carries raw bytes, which our own codec decodes and checks."""

import asyncio
from typing import Protocol

import grpc

from goodspeed.errors import LinkLostError
from goodspeed.protocol.send_queue import SendQueue

RPC_ERRORS = (
    grpc.RpcError,
    grpc.aio.UsageError,
    grpc.aio.InternalError,
    grpc.aio.AbortError,
    asyncio.InvalidStateError,
)
"""What grpc.aio raises for a call that has ended, depending on how and when it ended."""


class Rpc(Protocol):
    """The methods that grpc.aio's server context and client call share."""

    async def read(self) -> object: ...

    async def write(self, frame: bytes, /) -> None: ...


class RpcPipe:
    """A pipe over a call. It reads ahead into a bounded queue: grpc.aio ends the call when a read is cancelled."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        self._inward = SendQueue()
        self._reader = asyncio.create_task(self._read_frames())
        self._is_finished = False
        self.aborted: str | None = None
        """The reason of abort(), if it was called before finish()."""

    async def write(self, frame: bytes) -> None:
        try:
            await self._rpc.write(frame)
        except RPC_ERRORS as error:
            raise LinkLostError(describe_rpc_error(error)) from error

    async def read(self) -> bytes:
        return await self._inward.read()

    async def finish(self) -> None:
        self._is_finished = True  # at the server, the call ends when its handler returns

    def abort(self, reason: str) -> None:
        if not self._is_finished and self.aborted is None:
            self.aborted = reason
        self._inward.cut(reason)
        self._reader.cancel()

    async def _read_frames(self) -> None:
        try:
            while isinstance(frame := await self._rpc.read(), bytes):
                await self._inward.write(frame)
            self._inward.end("the peer closed the link")
        except RPC_ERRORS as error:
            self._inward.end(describe_rpc_error(error))
        except LinkLostError:
            return  # abort() was called


def describe_rpc_error(error: BaseException) -> str:
    """gRPC's reason for the end of a call, in one line."""
    if isinstance(error, grpc.aio.AioRpcError):
        return f"the link is lost: {error.code().name}: {error.details()}"
    return f"the link is lost: {error}"

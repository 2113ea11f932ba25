"""The contract of transports, for each of them: order of messages, bounds, ends of connections."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from goodspeed.decoding.sampling import Sampling
from goodspeed.errors import ErrorCode, LinkLostError, ProtocolError
from goodspeed.protocol.connection import QueueLimits
from goodspeed.protocol.grpc_client import grpc_connect
from goodspeed.protocol.grpc_config import GrpcClientConfig, GrpcServerConfig
from goodspeed.protocol.grpc_server import serve_grpc
from goodspeed.protocol.inprocess import InProcessTransport
from goodspeed.protocol.link_config import LinkConfig
from goodspeed.protocol.messages import Cancel, Error, Message, Open, Refused, Verdict
from goodspeed.protocol.transport import Accept, Connect, Connection

STALL_S = 1.0
VERDICT = Verdict(1, 0, 1, 3, 40_000, 304, 4)


@asynccontextmanager
async def in_process(accept: Accept, link: LinkConfig) -> AsyncIterator[Connect]:
    network = InProcessTransport(accept, QueueLimits(stall_s=STALL_S))
    yield network.connector(link)
    await network.close()


@asynccontextmanager
async def over_grpc(accept: Accept, link: LinkConfig) -> AsyncIterator[Connect]:
    server = await serve_grpc(accept, GrpcServerConfig(port=0, stall_s=STALL_S))
    try:
        yield grpc_connect(f"127.0.0.1:{server.port}", GrpcClientConfig(link=link))
    finally:
        await server.stop(0)


Serving = Callable[[Accept, LinkConfig], Any]
every_transport = pytest.mark.parametrize("serving", [in_process, over_grpc])


def until_lost(serve: Callable[[Connection], Awaitable[None]]) -> Accept:
    """An Accept that serves until the link ends."""

    async def accept(connection: Connection) -> None:
        try:
            while True:
                await serve(connection)
        except LinkLostError:
            return

    return accept


async def echo(connection: Connection) -> None:
    """Replies to each Cancel with a verdict of the same stream."""
    received = await connection.receive()
    await connection.send([replace(VERDICT, stream=item.stream) for item in received if isinstance(item, Cancel)])


async def received_streams(connection: Connection, count: int) -> list[int]:
    """The streams of the next `count` verdicts."""
    streams: list[int] = []
    while len(streams) < count:
        streams += [item.stream for item in await connection.receive() if isinstance(item, Verdict)]
    return streams


@every_transport
async def test_messages_keep_their_order_and_share_frames(serving: Serving) -> None:
    async with serving(until_lost(echo), LinkConfig()) as connect:
        connection = await connect()
        for first in range(0, 3000, 10):
            await connection.send([Cancel(stream, 0) for stream in range(first, first + 10)])
        assert await received_streams(connection, 3000) == list(range(3000))
        assert connection.traffic.sent_frames < 300
        await connection.close()


@every_transport
async def test_a_cancelled_receive_loses_nothing(serving: Serving) -> None:
    async with serving(until_lost(echo), LinkConfig()) as connect:
        connection = await connect()
        streams = []
        for stream in range(20):
            receiving = asyncio.create_task(received_streams(connection, 1))
            await asyncio.sleep(0)
            receiving.cancel()
            await connection.send([Cancel(stream, 0)])
            streams += await received_streams(connection, 1)
        assert streams == list(range(20))
        await connection.close()


@every_transport
async def test_both_ends_count_the_same_bytes(serving: Serving) -> None:
    served: list[Connection] = []

    async def accept(connection: Connection) -> None:
        served.append(connection)
        await until_lost(echo)(connection)

    async with serving(accept, LinkConfig()) as connect:
        connection = await connect()
        for stream in range(10):
            await connection.send([Cancel(stream, 0)])
            await received_streams(connection, 1)
        near, far = connection.traffic, served[0].traffic
        assert (near.sent_bytes, near.sent_frames) == (far.received_bytes, far.received_frames)
        assert (near.received_bytes, near.received_frames) == (far.sent_bytes, far.sent_frames)
        assert near.sent_bytes > 10 * 14
        await connection.close()


@every_transport
async def test_messages_sent_before_the_end_still_arrive(serving: Serving) -> None:
    async def refuse(connection: Connection) -> None:
        await connection.send([Refused(ErrorCode.CAPACITY, "full")])

    async with serving(refuse, LinkConfig()) as connect:
        connection = await connect()
        assert await connection.receive() == [Refused(ErrorCode.CAPACITY, "full")]
        with pytest.raises(LinkLostError):
            await connection.receive()
        await connection.close()


@every_transport
async def test_a_drafter_that_leaves_ends_the_verifiers_side(serving: Serving) -> None:
    ended = asyncio.Event()
    received: list[Message] = []

    async def accept(connection: Connection) -> None:
        try:
            while True:
                received.extend(await connection.receive())
        except LinkLostError:
            ended.set()

    async with serving(accept, LinkConfig()) as connect:
        connection = await connect()
        await connection.send([Cancel(1, 0)])
        await connection.close()
        await ended.wait()
        assert received == [Cancel(1, 0)]
        await connection.close()
        with pytest.raises(LinkLostError):
            await connection.send([Cancel(2, 0)])
        with pytest.raises(LinkLostError):
            await connection.receive()


@every_transport
async def test_a_peer_that_stops_reading_is_cut_off_and_others_are_served(serving: Serving) -> None:
    cut = asyncio.Event()
    num_sent = 0

    async def flood(connection: Connection) -> None:
        nonlocal num_sent
        if Cancel(99, 0) not in await connection.receive():
            await connection.send([VERDICT])
            return
        try:
            while True:
                await connection.send([VERDICT] * 1000)
                num_sent += 1000
        finally:
            cut.set()

    async with serving(until_lost(flood), LinkConfig()) as connect:
        lazy, busy = await connect(), await connect()
        await lazy.send([Cancel(99, 0)])
        while not cut.is_set():
            await busy.send([Cancel(1, 0)])
            await received_streams(busy, 1)
        assert num_sent < 300_000  # 8 MB: bounded, whatever the transport buffers
        with pytest.raises(LinkLostError):
            await received_streams(lazy, num_sent + 2000)
        await asyncio.gather(lazy.close(), busy.close())


@every_transport
async def test_a_message_that_is_too_long_leaves_the_link_alive(serving: Serving) -> None:
    async with serving(until_lost(echo), LinkConfig()) as connect:
        connection = await connect()
        huge = Open(5, 0, (40_000,) * 400_000, 1, 1, Sampling(), ())
        with pytest.raises(ProtocolError, match="expected at most 1048576"):
            await connection.send([Cancel(1, 0), huge])
        await connection.send([Cancel(2, 0)])
        assert await received_streams(connection, 2) == [1, 2]
        await connection.close()


@every_transport
async def test_large_messages_arrive_complete(serving: Serving) -> None:
    received: list[Message] = []

    async def accept(connection: Connection) -> None:
        received.extend(await connection.receive())
        await connection.send([VERDICT])

    async with serving(accept, LinkConfig()) as connect:
        connection = await connect()
        opening = Open(5, 0, (40_000,) * 300_000, 1, 1, Sampling(), ())
        await connection.send([opening])
        await received_streams(connection, 1)
        assert received == [opening]
        await connection.close()


@every_transport
async def test_an_error_of_one_stream_does_not_lose_other_messages(serving: Serving) -> None:
    """Verdicts with a log-probability that is no number, which the receiver's codec refuses."""

    async def answer(connection: Connection) -> None:
        await connection.receive()
        wrong = replace(VERDICT, stream=7, logprobs=(float("nan"),))
        await connection.send([VERDICT, wrong, replace(VERDICT, stream=2)])

    async with serving(until_lost(answer), LinkConfig()) as connect:
        connection = await connect()
        await connection.send([Cancel(1, 0)])
        assert await received_streams(connection, 2) == [1, 2]
        with pytest.raises(ProtocolError) as caught:
            await connection.receive()
        assert caught.value.stream == 7
        await connection.close()


@every_transport
async def test_an_emulated_link_delays_both_directions(serving: Serving) -> None:
    arrived: list[float] = []
    clock = asyncio.get_running_loop().time

    async def note(connection: Connection) -> None:
        await connection.receive()
        arrived.append(clock())
        await connection.send([VERDICT])

    async with serving(until_lost(note), LinkConfig(rtt_ms=60)) as connect:
        connection = await connect()
        sent = clock()
        await connection.send([Cancel(1, 0)])
        await received_streams(connection, 1)
        assert arrived[0] - sent >= 0.03
        assert clock() - arrived[0] >= 0.03
        await connection.close()


@every_transport
async def test_messages_under_way_on_a_slow_link_arrive_before_its_end(serving: Serving) -> None:
    received: list[Message] = []
    ended = asyncio.Event()

    async def accept(connection: Connection) -> None:
        try:
            while True:
                received.extend(await connection.receive())
        except LinkLostError:
            ended.set()

    async with serving(accept, LinkConfig(rtt_ms=100)) as connect:
        connection = await connect()
        await connection.send([Cancel(1, 0)])
        await connection.close()
        await ended.wait()
    assert received == [Cancel(1, 0)]


async def test_a_cut_link_is_lost_at_both_ends() -> None:
    network = InProcessTransport(until_lost(echo))
    connection = await network.connector()()
    receiving = asyncio.create_task(connection.receive())
    await asyncio.sleep(0)
    network.cut()
    with pytest.raises(LinkLostError, match="the link was cut"):
        await receiving
    await connection.close()
    again = await network.connector()()
    await again.send([Cancel(3, 0)])
    assert await received_streams(again, 1) == [3]
    await network.close()


async def test_an_exception_of_the_verifier_is_raised_by_close() -> None:
    async def broken(_connection: Connection) -> None:
        raise RuntimeError("a bug")

    network = InProcessTransport(broken)
    await network.connector()()
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="a bug"):
        await network.close()


async def test_an_error_can_still_be_sent_after_bytes_that_are_no_messages() -> None:
    """The verifier's side of a drafter that sends a verifier's messages."""

    async def answer(connection: Connection) -> None:
        try:
            await connection.receive()
        except ProtocolError as error:
            await connection.send([Error(error.code, str(error))])

    network = InProcessTransport(answer)
    connection = await network.connector()()
    await connection.send([Error(ErrorCode.INTERNAL, "of a verifier")])
    (error,) = await connection.receive()
    assert isinstance(error, Error)
    assert (error.code, error.stream) == (ErrorCode.MALFORMED, None)
    await network.close()

"""The live server: exact texts, isolation of faults, an event loop that never waits for the engine, clean shutdown."""

import asyncio
import json
import threading
from collections.abc import Sequence
from pathlib import Path

import grpc
import pytest
from msgspec.structs import replace
from tests.verifier.live import LiveDrafter, connect_drafter, live_verifier, receive_one

from goodspeed.decoding.mode import Mode
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.interface import Outcome, Work
from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.errors import ErrorCode, LinkLostError
from goodspeed.protocol.grpc_config import METHOD, SERVICE, GrpcServerConfig
from goodspeed.protocol.grpc_server import serve_grpc
from goodspeed.protocol.messages import Cancel, Error, Open, Propose, Refused, Verdict, Welcome
from goodspeed.protocol.transport import Connection
from goodspeed.records.event_log import JsonlEventLog
from goodspeed.testing.virtual_verifier import hello, open_request, target_only_text
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.event_log_replay import replay

COUPLED = Sampling(0.8, seed=3, rule=Rule.COUPLED)


def requests(num_streams: int = 3, max_tokens: int = 60) -> list[Open]:
    sampled = [open_request(i, range(i, i + 8), max_tokens, COUPLED) for i in range(num_streams)]
    return [*sampled[1:], replace(open_request(0, range(8), max_tokens), mode=Mode.TARGET_ONLY)]


def expected(opened: Sequence[Open]) -> dict[int, list[int]]:
    return {request.stream: target_only_text(request) for request in opened}


def test_texts_are_the_targets_own_and_everything_is_freed() -> None:
    async def run() -> None:
        engine = ToyTarget()
        async with live_verifier(engine) as live:
            drafters = [LiveDrafter(await connect_drafter(live.connect, f"drafter {i}"), i / 3) for i in range(4)]
            texts = await asyncio.gather(*(drafter.generate(requests()) for drafter in drafters))
            assert all(text == expected(requests()) for text in texts)
            assert live.value("goodspeed_kv_used_tokens") == 0
        assert engine.num_open == 0

    asyncio.run(run())


async def garbage_over_grpc(address: str, frames: Sequence[bytes]) -> None:
    """Send raw bytes in place of frames, and read to the end."""
    async with grpc.aio.insecure_channel(address) as channel:
        connect: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(f"/{SERVICE}/{METHOD}")
        call = connect()
        for frame in frames:
            await call.write(frame)
        while (answer := await call.read()) is not grpc.aio.EOF:
            assert answer


@pytest.mark.parametrize(
    "frames", [[b"\xff" * 100], [b""], [b"\x0a\x05\x0a"], [b"\x00" * 5000]], ids=["ones", "empty", "truncated", "zeros"]
)
def test_garbage_bytes_end_only_their_session(frames: list[bytes]) -> None:
    async def run() -> None:
        async with live_verifier(ToyTarget()) as live:
            server = await serve_grpc(live.server.serve, GrpcServerConfig(port=0))
            victim = LiveDrafter(await connect_drafter(live.connect, "victim"), 0.6)
            text, _ = await asyncio.gather(
                victim.generate(requests()), garbage_over_grpc(f"127.0.0.1:{server.port}", frames)
            )
            assert text == expected(requests())
            await server.stop(0.5)

    asyncio.run(run())


async def offend(connection: Connection, wrong: Propose) -> Error:
    await connection.send([open_request(1, max_tokens=1000)])
    await receive_one(connection, Verdict)
    await connection.send([wrong])
    error = await receive_one(connection, Error)
    assert isinstance(error, Error)
    return error


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (Propose(1, 0, 1, 4, 0xBAD, ()), ErrorCode.DIVERGED),
        (Propose(1, 7, 1, 4, 0, ()), ErrorCode.STALE_EPOCH),
        (Propose(1, 0, 9, 4, 0, ()), ErrorCode.WRONG_ROUND),
        (Propose(5, 0, 1, 4, 0, ()), ErrorCode.UNKNOWN_STREAM),
        (Propose(1, 0, 1, 4, 0xBAD, (1,) * 400), ErrorCode.DIVERGED),
    ],
    ids=["checksum", "epoch", "round", "stream", "checksum and length"],
)
def test_a_wrong_proposal_is_an_error_for_its_sender_only(wrong: Propose, code: ErrorCode) -> None:
    async def run() -> None:
        engine = ToyTarget()
        async with live_verifier(engine) as live:
            victim = LiveDrafter(await connect_drafter(live.connect, "victim"), 0.6)
            offender = await connect_drafter(live.connect, "offender")
            text, error = await asyncio.gather(victim.generate(requests()), offend(offender, wrong))
            assert text == expected(requests())
            assert error.code is code
        assert engine.num_open == 0

    asyncio.run(run())


def test_wrong_fingerprint_is_refused_and_the_link_closed() -> None:
    async def run() -> None:
        async with live_verifier(ToyTarget()) as live:
            connection = await live.connect()
            await connection.send([hello("edge", tokenizer_fingerprint="other")])
            (refused,) = await connection.receive()
            assert isinstance(refused, Refused)
            assert refused.code is ErrorCode.TOKENIZER_MISMATCH
            with pytest.raises(LinkLostError):
                await connection.receive()

    asyncio.run(run())


def test_a_superseded_session_gets_an_error_and_is_closed() -> None:
    async def run() -> None:
        async with live_verifier(ToyTarget()) as live:
            first = await connect_drafter(live.connect, "edge")
            await connect_drafter(live.connect, "edge")
            error = await receive_one(first, Error)
            assert isinstance(error, Error)
            assert (error.code, error.stream) == (ErrorCode.SUPERSEDED, None)
            with pytest.raises(LinkLostError):
                await first.receive()

    asyncio.run(run())


@pytest.mark.parametrize("is_reading", [True, False], ids=["reading", "not reading"])
def test_ten_thousand_opens_of_one_client_do_not_delay_others(is_reading: bool) -> None:
    async def flood(connection: Connection) -> None:
        try:
            for first in range(0, 10_000, 500):
                await connection.send([open_request(stream) for stream in range(first, first + 500)])
            while is_reading:
                await connection.receive()
        except LinkLostError:
            assert not is_reading

    async def run() -> None:
        engine = ToyTarget(toy_info(kv_capacity=3000))
        async with live_verifier(engine, VerifierCoreConfig(max_queued=100)) as live:
            victim = LiveDrafter(await connect_drafter(live.connect, "victim"), 0.6)
            flooding = asyncio.create_task(flood(await connect_drafter(live.connect, "flood")))
            assert await victim.generate(requests()) == expected(requests())
            late = LiveDrafter(await connect_drafter(live.connect, "late"), 0.6)
            assert await late.generate(requests()) == expected(requests())
            flooding.cancel()
            await asyncio.wait([flooding])
        assert engine.num_open == 0

    asyncio.run(run())


async def talk_until_cut_off(connection: Connection) -> None:
    while True:
        await connection.send([Cancel(99, 0)])
        await asyncio.sleep(0.05)


def test_a_client_that_stops_reading_is_disconnected() -> None:
    async def run() -> None:
        async with live_verifier(ToyTarget(toy_info(max_context=100_000, kv_capacity=10**7))) as live:
            deaf = await connect_drafter(live.connect, "deaf")
            await deaf.send([replace(open_request(i, max_tokens=50_000), mode=Mode.TARGET_ONLY) for i in range(60)])
            victim = LiveDrafter(await connect_drafter(live.connect, "victim"), 0.6)
            assert await victim.generate(requests()) == expected(requests())
            with pytest.raises(LinkLostError):
                await talk_until_cut_off(deaf)
            assert await victim.generate(requests()) == expected(requests())

    asyncio.run(run())


class FaultyTarget(ToyTarget):
    """Fails in every step that works on a prompt with the token 99."""

    def step(self, batch: Sequence[Work]) -> list[Outcome]:
        if any(99 in self._stream(work.stream).spec.tokens for work in batch):
            raise MemoryError("planted")
        return super().step(batch)


def test_a_failing_engine_ends_the_streams_of_its_batch_and_the_server_continues() -> None:
    async def run() -> None:
        engine = FaultyTarget()
        async with live_verifier(engine) as live:
            drafter = LiveDrafter(await connect_drafter(live.connect, "edge"), 0.6)
            assert await drafter.generate([open_request(50, prompt=(1, 99))]) == {}
            (error,) = drafter.errors
            assert error.code is ErrorCode.INTERNAL
            assert await drafter.generate(requests()) == expected(requests())
        assert engine.num_open == 0

    asyncio.run(run())


class SlowTarget(ToyTarget):
    """Each step waits until the test releases it."""

    def __init__(self) -> None:
        super().__init__()
        self.is_stepping = threading.Event()
        self.may_step = threading.Event()

    def step(self, batch: Sequence[Work]) -> list[Outcome]:
        self.is_stepping.set()
        assert self.may_step.wait(30.0)
        return super().step(batch)


def test_the_loop_serves_links_while_the_engine_runs() -> None:
    async def run() -> None:
        engine = SlowTarget()
        async with live_verifier(engine) as live:
            drafter = LiveDrafter(await connect_drafter(live.connect, "edge"), 0.6)
            writing = asyncio.create_task(drafter.generate(requests()))
            await asyncio.to_thread(engine.is_stepping.wait)
            other = await live.connect()
            await other.send([hello("other")])
            assert isinstance((await other.receive())[0], Welcome)
            engine.may_step.set()
            assert await writing == expected(requests())

    asyncio.run(run())


def test_shutdown_reaches_drafters_at_once_and_finishes_the_running_step() -> None:
    async def run() -> None:
        engine = SlowTarget()
        async with live_verifier(engine) as live:
            connection = await connect_drafter(live.connect, "edge")
            await connection.send(requests())
            await asyncio.to_thread(engine.is_stepping.wait)
            closing = asyncio.create_task(live.server.close())
            error = await receive_one(connection, Error)
            assert isinstance(error, Error)
            assert error.code is ErrorCode.SHUTTING_DOWN
            assert not closing.done()
            engine.may_step.set()
            await closing
            assert engine.num_open == 0
            (refused,) = await (await live.connect()).receive()
            assert isinstance(refused, Refused)

    asyncio.run(run())


def test_live_run_replays_identically_and_a_planted_difference_is_found(tmp_path: Path) -> None:
    async def run() -> None:
        events = JsonlEventLog(tmp_path / "verifier.jsonl")
        async with live_verifier(ToyTarget(), events=events) as live:
            drafters = [LiveDrafter(await connect_drafter(live.connect, f"drafter {i}"), 0.6) for i in range(3)]
            await asyncio.gather(*(drafter.generate(requests()) for drafter in drafters))
        events.close()

    asyncio.run(run())
    lines = (tmp_path / "verifier.jsonl").read_text().splitlines()
    assert replay(lines) is None
    number, event = next(
        (i, e) for i, e in enumerate(map(json.loads, lines)) if e["event"] == "batch" and e["batch"]["turns"] and i > 40
    )
    event["batch"]["turns"] = event["batch"]["turns"][:-1]
    difference = replay([*lines[:number], json.dumps(event), *lines[number + 1 :]])
    assert difference is not None
    assert difference.line == number + 1

"""Bytes on the wire per round and per committed token in each mode: those of gRPC, counted by a TCP relay.

One drafter and one verifier on loopback play greedy rounds in an open session: remote ones with proposals of four
tokens, local ones with four co-located draft tokens or none, and local ones that all ask for a shadow draft. The relay
counts all bytes of the TCP streams, including window updates, pings and acknowledgements of HTTP/2, without TCP and IP
headers. Connection.traffic is compared with it. Three minutes; no model.

    python -m runs.wire_bytes
"""

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from goodspeed.decoding.sampling import Sampling
from goodspeed.errors import LinkLostError
from goodspeed.protocol.grpc_client import grpc_connect
from goodspeed.protocol.grpc_config import GrpcClientConfig, GrpcServerConfig
from goodspeed.protocol.grpc_server import serve_grpc
from goodspeed.protocol.messages import Open, Propose, RoundMode, ShadowDraft, Verdict
from goodspeed.protocol.transport import Connection

VOCAB_SIZE = 49152
NUM_TOKENS = 4
"""Draft tokens of a round that has any."""
WARM_UP = 50
STEP_S = 0.004
"""Time between the verdicts of local rounds, which nothing else paces."""


@dataclass(frozen=True, slots=True)
class Script:
    """What all rounds of a measurement have in common."""

    name: str
    mode: RoundMode
    num_accepted: int
    shadow: int = 0  # tokens of the shadow draft that every verdict asks for

    @property
    def num_committed(self) -> int:
        return self.num_accepted + 1


SCRIPTS = (
    *(Script("remote", RoundMode.REMOTE, num_accepted) for num_accepted in range(NUM_TOKENS + 1)),
    *(Script("co-located", RoundMode.CO_LOCATED, num_accepted) for num_accepted in range(NUM_TOKENS + 1)),
    Script("target-only", RoundMode.TARGET_ONLY, 0),
    Script("target-only, with shadow drafts", RoundMode.TARGET_ONLY, 0, NUM_TOKENS),
)


@dataclass(frozen=True, slots=True)
class WireRow:
    """Bytes per round of one stream."""

    script: Script
    streams: int  # streams whose messages share a frame
    up: float
    down: float
    up_by_traffic: float
    down_by_traffic: float

    @property
    def per_token(self) -> float:
        """Bytes in both directions per committed token."""
        return (self.up + self.down) / self.script.num_committed


class Relay:
    """A TCP relay to a local port that counts bytes."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ended = asyncio.Event()
        self.up_bytes = 0
        self.down_bytes = 0

    async def serve(self) -> int:
        """Start the relay; returns its port."""
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def ended(self) -> None:
        """Wait until the link through the relay is closed."""
        await self._ended.wait()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(self._copy(reader, server_writer, 1, 0), self._copy(server_reader, writer, 0, 1))
        writer.close()
        server_writer.close()
        self._ended.set()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, up: int, down: int) -> None:
        while chunk := await reader.read(1 << 16):
            self.up_bytes += up * len(chunk)
            self.down_bytes += down * len(chunk)
            writer.write(chunk)
        writer.write_eof()


async def answer(script: Script, connection: Connection) -> None:
    """A verifier: it answers proposals, and after an Open of every stream plays as many local rounds as it says."""
    rng = np.random.default_rng(1)
    opened: list[Open] = []
    try:
        while True:
            messages = await connection.receive()
            proposes = [message for message in messages if isinstance(message, Propose)]
            await connection.send([verdict(script, *place(propose), rng) for propose in proposes])
            opened += [message for message in messages if isinstance(message, Open)]
            if opened and len(opened) == opened[0].num_prompt:
                await play_local(script, connection, opened, rng)
                opened = []
    except LinkLostError:
        return


async def play_local(script: Script, connection: Connection, opened: Sequence[Open], rng: np.random.Generator) -> None:
    """The verdicts of local rounds of all streams, in lockstep."""
    for number in range(opened[0].max_tokens):
        await asyncio.sleep(STEP_S)
        await connection.send([verdict(script, message.stream, *round_and_length(number), rng) for message in opened])


def place(propose: Propose) -> tuple[int, int, int]:
    return propose.stream, propose.round, propose.committed_length


def round_and_length(number: int) -> tuple[int, int]:
    """Realistic values: about 300 committed tokens."""
    return 1 + number % 120, 300 + number % 100


def verdict(script: Script, stream: int, round_: int, committed_length: int, rng: np.random.Generator) -> Verdict:
    """A verdict with realistic values."""
    is_remote, is_co_located = script.mode is RoundMode.REMOTE, script.mode is RoundMode.CO_LOCATED
    return Verdict(
        stream=stream,
        epoch=1,
        round=round_,
        num_accepted=script.num_accepted if is_remote else 0,
        next_token=int(rng.integers(VOCAB_SIZE)),
        committed_length=committed_length + script.num_committed,
        grant=5 if is_remote else 0,
        queue_us=int(rng.integers(1_000, 20_000)),
        verify_us=int(rng.integers(20_000, 90_000)),
        co_located_tokens=random_tokens(script.num_accepted, rng) if is_co_located else (),
        num_co_located=NUM_TOKENS if is_co_located else 0,
        shadow=script.shadow,
    )


def random_tokens(num_tokens: int, rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(rng.integers(VOCAB_SIZE, size=num_tokens).tolist())


def propose(stream: int, number: int, rng: np.random.Generator) -> Propose:
    """A proposal with realistic values, after one resumption."""
    round_, committed_length = round_and_length(number)
    return Propose(
        stream=stream,
        epoch=1,
        round=round_,
        committed_length=committed_length,
        committed_crc32=int(rng.integers(2**32)),
        tokens=random_tokens(NUM_TOKENS, rng),
        confidences=tuple(rng.integers(256, size=NUM_TOKENS).tolist()),
        drafting_us=int(rng.integers(1_000, 20_000)),
    )


async def measure(script: Script, num_streams: int, num_rounds: int) -> WireRow:
    """Bytes per round and stream, with `num_streams` streams in lockstep."""
    server = await serve_grpc(partial(answer, script), GrpcServerConfig(port=0))
    relay = Relay(server.port)
    connection = await grpc_connect(f"127.0.0.1:{await relay.serve()}", GrpcClientConfig())()
    rng = np.random.default_rng(0)
    play = play_remote if script.mode is RoundMode.REMOTE else follow_local
    await play(connection, num_streams, WARM_UP, rng)
    before, up, down = connection.traffic, relay.up_bytes, relay.down_bytes
    await play(connection, num_streams, num_rounds, rng)
    await asyncio.sleep(0.2)  # for the last control frames of HTTP/2
    after, num_stream_rounds = connection.traffic, num_streams * num_rounds
    row = WireRow(
        script,
        num_streams,
        (relay.up_bytes - up) / num_stream_rounds,
        (relay.down_bytes - down) / num_stream_rounds,
        (after.sent_bytes - before.sent_bytes) / num_stream_rounds,
        (after.received_bytes - before.received_bytes) / num_stream_rounds,
    )
    await connection.close()
    await server.stop(1)
    await relay.ended()
    return row


async def play_remote(connection: Connection, num_streams: int, num_rounds: int, rng: np.random.Generator) -> None:
    """A drafter that proposes for all streams in lockstep."""
    for number in range(num_rounds):
        await connection.send([propose(stream, number, rng) for stream in range(1, num_streams + 1)])
        num_answered = 0
        while num_answered < num_streams:
            num_answered += len(await connection.receive())


async def follow_local(connection: Connection, num_streams: int, num_rounds: int, rng: np.random.Generator) -> None:
    """A drafter that opens the streams and receives their verdicts. Its Opens, 30 bytes a stream, are counted."""
    prompt = (0,) * num_streams  # so that the verifier knows how many streams there are
    opens = [Open(stream, 1, prompt, num_streams, num_rounds, Sampling(), ()) for stream in range(1, num_streams + 1)]
    await connection.send(opens)
    num_received = 0
    while num_received < num_streams * num_rounds:
        messages = await connection.receive()
        num_received += len(messages)
        asked = [message for message in messages if isinstance(message, Verdict) and message.shadow]
        await connection.send([shadow_draft(message, rng) for message in asked])


def shadow_draft(request: Verdict, rng: np.random.Generator) -> ShadowDraft:
    tokens, drafting_us = random_tokens(request.shadow, rng), int(rng.integers(1_000, 20_000))
    return ShadowDraft(request.stream, request.epoch, request.round, request.committed_length, tokens, drafting_us)


def print_rows(rows: Sequence[WireRow]) -> None:
    print("| round | accepted | streams | up, counted | traffic | down, counted | traffic | per committed token |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row.script.name} | {row.script.num_accepted} | {row.streams} | {row.up:.1f} | {row.up_by_traffic:.1f} "
            f"| {row.down:.1f} | {row.down_by_traffic:.1f} | {row.per_token:.1f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = [
        asyncio.run(measure(script, num_streams, args.rounds)) for num_streams in args.streams for script in SCRIPTS
    ]
    if args.json:
        print(json.dumps([asdict(row) for row in rows]))
        return
    print_rows(rows)


if __name__ == "__main__":
    main()

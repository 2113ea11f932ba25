"""Bytes on the wire per round: the bytes of gRPC counted by a TCP relay, compared with Connection.traffic.

One drafter and one verifier on loopback exchange greedy proposals of four tokens in an open session. The relay counts
all bytes of the TCP streams, including window updates, pings and acknowledgements of HTTP/2, without TCP and IP
headers. 10 s; no model.

    python -m runs.wire_bytes
"""

import argparse
import asyncio
import json
from dataclasses import asdict, dataclass

import numpy as np

from goodspeed.errors import LinkLostError
from goodspeed.protocol.grpc_client import grpc_connect
from goodspeed.protocol.grpc_config import GrpcClientConfig, GrpcServerConfig
from goodspeed.protocol.grpc_server import serve_grpc
from goodspeed.protocol.messages import Propose, Verdict
from goodspeed.protocol.transport import Connection

VOCAB_SIZE = 49152
NUM_TOKENS = 4
WARM_UP = 50


@dataclass(frozen=True, slots=True)
class WireRow:
    """Bytes per round of one stream."""

    streams: int  # streams whose messages share a frame
    up: float
    down: float
    up_by_traffic: float
    down_by_traffic: float


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


async def answer(connection: Connection) -> None:
    """A verifier that accepts three tokens of every proposal."""
    rng = np.random.default_rng(1)
    try:
        while True:
            proposes = [message for message in await connection.receive() if isinstance(message, Propose)]
            await connection.send([verdict(propose, rng) for propose in proposes])
    except LinkLostError:
        return


def verdict(propose: Propose, rng: np.random.Generator) -> Verdict:
    """A verdict with realistic values."""
    return Verdict(
        stream=propose.stream,
        epoch=propose.epoch,
        round=propose.round,
        num_accepted=3,
        next_token=int(rng.integers(VOCAB_SIZE)),
        committed_length=propose.committed_length + 4,
        grant=5,
        queue_us=int(rng.integers(1_000, 20_000)),
        verify_us=int(rng.integers(20_000, 90_000)),
    )


def propose(stream: int, number: int, rng: np.random.Generator) -> Propose:
    """A proposal with realistic values: about 300 committed tokens, one resumption."""
    return Propose(
        stream=stream,
        epoch=1,
        round=1 + number % 120,
        committed_length=300 + number % 100,
        committed_crc32=int(rng.integers(2**32)),
        tokens=tuple(rng.integers(VOCAB_SIZE, size=NUM_TOKENS).tolist()),
        confidences=tuple(rng.integers(256, size=NUM_TOKENS).tolist()),
        drafting_us=int(rng.integers(1_000, 20_000)),
    )


async def measure(num_streams: int, num_rounds: int) -> WireRow:
    """Bytes per round and stream, with `num_streams` streams in lockstep."""
    server = await serve_grpc(answer, GrpcServerConfig(port=0))
    relay = Relay(server.port)
    connection = await grpc_connect(f"127.0.0.1:{await relay.serve()}", GrpcClientConfig())()
    rng = np.random.default_rng(0)
    await play(connection, num_streams, WARM_UP, rng)
    before, up, down = connection.traffic, relay.up_bytes, relay.down_bytes
    await play(connection, num_streams, num_rounds, rng)
    await asyncio.sleep(0.2)  # for the last control frames of HTTP/2
    after, num_stream_rounds = connection.traffic, num_streams * num_rounds
    row = WireRow(
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


async def play(connection: Connection, num_streams: int, num_rounds: int, rng: np.random.Generator) -> None:
    """Play rounds of all streams in lockstep."""
    for number in range(num_rounds):
        await connection.send([propose(stream, number, rng) for stream in range(1, num_streams + 1)])
        num_answered = 0
        while num_answered < num_streams:
            num_answered += len(await connection.receive())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = [asyncio.run(measure(num_streams, args.rounds)) for num_streams in (1, 4, 16)]
    if args.json:
        print(json.dumps([asdict(row) for row in rows]))
        return
    print("| streams on the link | up, counted | up, by traffic | down, counted | down, by traffic |")
    print("|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row.streams} | {row.up:.1f} | {row.up_by_traffic:.1f} | {row.down:.1f} | {row.down_by_traffic:.1f} |"
        )


if __name__ == "__main__":
    main()

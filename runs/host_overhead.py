"""CPU time of a verification round on the verifier's host, without the forward pass.

Parts: per round of 64 toy streams with 4 draft tokens each, the time to decode the frames of the proposals, to process
them in the core, to close the batch, to compute estimates, grants and verdicts, and to encode the verdicts. Local: the
same for rounds that wait for no drafter, the verifier's default where drafters are far or slow.
Live: per round of 64 verdicts over gRPC on loopback, the time of all threads of the server's process without that of
the toy engine. The drafters run in another process and propose nothing. Half a minute; no model.

    python -m runs.host_overhead
"""

import argparse
import asyncio
import itertools
import multiprocessing
import statistics
import time
from collections.abc import Sequence
from multiprocessing.synchronize import Event

from msgspec.structs import replace

from goodspeed.decoding.draft import Draft, DraftRequest
from goodspeed.decoding.mode import Mode
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.co_located import CoLocatedConfig, co_located_drafts
from goodspeed.engine.interface import Outcome, Work
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.toy_draft import ToyDraft
from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.protocol.codec import decode_drafter_frame, encode_message
from goodspeed.protocol.grpc_client import grpc_connect
from goodspeed.protocol.grpc_config import GrpcClientConfig, GrpcServerConfig
from goodspeed.protocol.grpc_server import serve_grpc
from goodspeed.protocol.messages import PROTOCOL_VERSION, Hello, Message, Open, Opened, Propose, Verdict
from goodspeed.protocol.session import DrafterStream
from goodspeed.scheduling.policies import ESTIMATORS
from goodspeed.verifier.core.core import VerifierCore
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.server import VerifierServer
from goodspeed.verifier.step import run_batch

NUM_STREAMS = 64
NUM_DRAFT_TOKENS = 4
CONFIG = VerifierCoreConfig(budget=NUM_STREAMS * NUM_DRAFT_TOKENS, scheduler="fixed", max_proposal=NUM_DRAFT_TOKENS)
INFO = toy_info(max_context=100_000, kv_capacity=10**9, kv_block=16)
PARTS = ("decode", "core: proposals", "core: batch", "core: verdicts", "encode")


def hello(number: int) -> Hello:
    return Hello(PROTOCOL_VERSION, f"drafter {number}", "toy")


def opening(stream: int) -> Open:
    return Open(stream, 0, tuple(range(stream, stream + 16)), 16, 50_000, Sampling(), ())


class TimedRounds:
    """64 streams of `num_clients` drafters without a network; every part of a round is timed."""

    def __init__(self, num_clients: int, scheduler: str, estimator: str) -> None:
        self.engine = ToyTarget(INFO)
        config = VerifierCoreConfig(
            budget=CONFIG.budget, scheduler=scheduler, estimator=estimator, max_proposal=NUM_DRAFT_TOKENS
        )
        self.core = VerifierCore(config, INFO)
        self.drafts = ToyDraft(0.7)
        self.streams: dict[tuple[int, int], DrafterStream] = {}
        for conn in range(num_clients):
            self.core.on_connect(conn, 0.0)
            self.core.on_message(conn, hello(conn), 0.0)
            for stream in range(conn, NUM_STREAMS, num_clients):
                self.streams[conn, stream] = DrafterStream(opening(stream))
                self.drafts.open(stream, opening(stream).tokens, Sampling())
                self._take(self.core.on_message(conn, opening(stream), 0.0))
        while batch := self.core.next_batch(time.monotonic()):
            now = time.monotonic()
            self._take(self.core.on_verified(batch, run_batch(self.engine, batch), now, now))

    def run(self) -> list[float]:
        """Seconds of each part of one round."""
        ready = [(conn, stream) for (conn, _), stream in self.streams.items() if stream.is_ready]
        frames = [(conn, encode_message(self._proposal(stream))) for conn, stream in ready]
        marks = [time.thread_time()]
        proposals = [(conn, message) for conn, frame in frames for message in decode_drafter_frame(frame)]
        marks.append(time.thread_time())
        for conn, message in proposals:
            assert isinstance(message, Propose)  # greedy proposals decode to no other message
            self.core.on_message(conn, message, time.monotonic())
        marks.append(time.thread_time())
        batch = self.core.next_batch(time.monotonic())
        marks.append(time.thread_time())
        assert batch is not None
        assert len(batch.turns) == NUM_STREAMS
        start_s = time.monotonic()
        result = run_batch(self.engine, batch)
        step_s = time.thread_time() - marks[-1]
        replies = self.core.on_verified(batch, result, start_s, time.monotonic())
        marks.append(time.thread_time() - step_s)
        for _, reply in replies:
            encode_message(reply)
        marks.append(time.thread_time() - step_s)
        self._take(replies)
        return [later - earlier for earlier, later in itertools.pairwise(marks)]

    def _proposal(self, stream: DrafterStream) -> Propose:
        (draft,) = self.drafts.draft([DraftRequest(stream.opening.stream, stream.max_draft)])
        return stream.propose(draft, drafting_s=0.001)

    def _take(self, replies: Sequence[tuple[int, Message]]) -> None:
        for conn, message in replies:
            if isinstance(message, Verdict):
                self.drafts.commit(message.stream, self.streams[conn, message.stream].on_verdict(message))


class LocalRounds:
    """64 streams in co-located mode. The engine's thread, with the drafts in it, is not timed."""

    def __init__(self) -> None:
        self.engine, self.now = ToyTarget(INFO), 0.0
        self.core = VerifierCore(VerifierCoreConfig(), INFO)
        self.drafts = co_located_drafts(CoLocatedConfig(), TargetConfig(), INFO)
        for conn in range(NUM_STREAMS):
            self.core.on_connect(conn, self.now)
            self.core.on_message(conn, hello(conn), self.now)
            self.core.on_message(conn, replace(opening(conn), mode=Mode.CO_LOCATED), self.now)

    def run(self) -> list[float]:
        """Seconds of each part of one round: batch, verdicts, encode."""
        marks = [time.thread_time()]
        batch = self.core.next_batch(self.now)
        marks.append(time.thread_time())
        assert batch is not None
        result = run_batch(self.engine, batch, self.drafts, time.perf_counter)
        step_s = time.thread_time() - marks[-1]
        started, self.now = self.now, self.now + 0.01
        replies = self.core.on_verified(batch, result, started, self.now)
        marks.append(time.thread_time() - step_s)
        for _, reply in replies:
            encode_message(reply)
        marks.append(time.thread_time() - step_s)
        return [later - earlier for earlier, later in itertools.pairwise(marks)]


def show_local(num_rounds: int) -> None:
    rounds = LocalRounds()
    for _ in range(20):  # prompts are read, and memory is taken
        rounds.run()
    runs = [rounds.run() for _ in range(num_rounds)]
    print("local rounds:")
    for name, seconds in [*zip(PARTS[2:], zip(*runs, strict=True), strict=True), ("total", [sum(run) for run in runs])]:
        show(name, seconds)


def show_parts(num_clients: int, scheduler: str, estimator: str, num_rounds: int) -> None:
    rounds = TimedRounds(num_clients, scheduler, estimator)
    for _ in range(20):
        rounds.run()
    runs = [rounds.run() for _ in range(num_rounds)]
    print(f"{num_clients} clients, {scheduler}, {estimator}:")
    for name, seconds in [*zip(PARTS, zip(*runs, strict=True), strict=True), ("total", [sum(run) for run in runs])]:
        show(name, seconds)


def show(name: str, seconds: Sequence[float]) -> None:
    ms = sorted(1e3 * value for value in seconds)
    low, high = ms[len(ms) // 20], ms[int(0.9 * len(ms))]
    print(f"  {name:16} {statistics.median(ms):6.3f} ms   p5 {low:6.3f} ms   p90 {high:6.3f} ms   n {len(ms)}")


class TimedTarget(ToyTarget):
    """Records the CPU time of the process outside the engine's steps, round by round."""

    def __init__(self) -> None:
        super().__init__(INFO)
        self.marks: list[tuple[int, float]] = []  # verdicts so far, CPU seconds so far outside the engine
        self._num_verdicts = 0
        self._inside_s = 0.0

    def step(self, batch: Sequence[Work]) -> list[Outcome]:
        start_s = time.thread_time()
        outcomes = super().step(batch)
        self._inside_s += time.thread_time() - start_s
        self._num_verdicts += len(batch)
        self.marks.append((self._num_verdicts, time.process_time() - self._inside_s))
        return outcomes


async def draft(address: str, number: int, num_streams: int) -> None:
    """One drafter with its own link: it sends empty proposals at once, until the verifier ends the session."""
    connection = await grpc_connect(address, GrpcClientConfig())()
    streams = {stream: DrafterStream(opening(stream)) for stream in range(num_streams)}
    await connection.send([hello(number), *(stream.opening for stream in streams.values())])
    while True:
        proposals: list[Message] = []
        for message in await connection.receive():
            if isinstance(message, Verdict):
                streams[message.stream].on_verdict(message)
                if streams[message.stream].is_ready:
                    proposals.append(streams[message.stream].propose(Draft((), ()), drafting_s=0.001))
            elif not isinstance(message, Opened):
                continue
        if proposals:
            await connection.send(proposals)


def draft_all(address: str, num_clients: int, stop: Event) -> None:
    """The body of the drafters' process."""

    async def run() -> None:
        drafters = [
            asyncio.create_task(draft(address, number, NUM_STREAMS // num_clients)) for number in range(num_clients)
        ]
        await asyncio.to_thread(stop.wait)
        for drafter in drafters:
            drafter.cancel()

    asyncio.run(run())


async def measure_live(num_clients: int, seconds: float) -> None:
    engine = TimedTarget()
    server = VerifierServer(CONFIG, engine)
    grpc_server = await serve_grpc(server.serve, GrpcServerConfig(port=0))
    running = asyncio.create_task(server.run())
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    drafters = context.Process(target=draft_all, args=(f"127.0.0.1:{grpc_server.port}", num_clients, stop))
    drafters.start()
    await asyncio.sleep(seconds)
    stop.set()
    await asyncio.to_thread(drafters.join)
    await server.close()
    await grpc_server.stop(0.5)
    await running
    show_live(num_clients, engine.marks)


def show_live(num_clients: int, marks: Sequence[tuple[int, float]]) -> None:
    """CPU time per 64 verdicts, over periods of 640 verdicts in the middle of the run."""
    middle = marks[len(marks) // 5 : -len(marks) // 5]
    per_round, start = [], middle[0]
    for mark in middle:
        if mark[0] - start[0] >= 10 * NUM_STREAMS:
            per_round.append((mark[1] - start[1]) / (mark[0] - start[0]) * NUM_STREAMS)
            start = mark
    mean_batch = (middle[-1][0] - middle[0][0]) / len(middle)
    print(f"live over gRPC, {num_clients} links, {mean_batch:.0f} streams per batch:")
    show("CPU of a round", per_round)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--estimator", default=VerifierCoreConfig().estimator, choices=list(ESTIMATORS))
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=8.0, help="seconds of each live run")
    args = parser.parse_args()
    for num_clients, scheduler in ((64, "gradient"), (8, "gradient"), (64, "fixed")):
        show_parts(num_clients, scheduler, args.estimator, args.rounds)
    show_local(args.rounds)
    for num_clients in (64, 8):
        asyncio.run(measure_live(num_clients, args.seconds))


if __name__ == "__main__":
    main()

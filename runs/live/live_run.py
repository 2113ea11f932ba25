"""One live run: a verifier and its drafters in one process, each with a user who sends one request after another."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from runs.live.paced_draft import PacedDraft
from runs.live.run_log import RunLog
from runs.live.run_log_sink import RunLogSink

from goodspeed.drafter.core.core import DrafterCore
from goodspeed.drafter.core.core_config import DrafterCoreConfig as DrafterConfig
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.drafter.draft_runner import DraftRunner, InlineDraftRunner, ThreadDraftRunner
from goodspeed.drafter.server import DrafterServer
from goodspeed.drafter.uplink import VerifierEndpoint
from goodspeed.engine.interface import DraftEngine, TargetEngine
from goodspeed.protocol.inprocess import InProcessTransport
from goodspeed.protocol.link_config import LinkConfig
from goodspeed.protocol.messages import PROTOCOL_VERSION, Hello
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.server import VerifierServer
from goodspeed.windows.policies import WindowConfig

MEET_S = 30.0
WHOLE_GRANT = DrafterConfig(window=WindowConfig("fixed", max_tokens=1024))
"""Every drafter proposes its whole grant, so that the scheduler alone determines the shares."""


@dataclass(frozen=True, slots=True)
class LiveClient:
    """One drafter and its user. A run consumes the engine and the prompts."""

    name: str
    engine: DraftEngine
    prompts: Iterator[tuple[int, ...]]
    """Prompts in tokens; endless."""
    link: LinkConfig | None = None
    pace_s: float = 0.0
    """Drafting time per token of the device that is emulated; 0: as fast as this machine."""


@dataclass(frozen=True, slots=True)
class LivePlan:
    """Limits of a run, which ends when every client has its rounds, or after `seconds`."""

    max_tokens: int  # of an answer
    rounds: int  # 0: limited by time only
    seconds: float = 600.0
    seed: int = 0  # of the links


class PersistentThread(ThreadPoolExecutor):
    """An engine thread that several verifiers use in turn: a server shuts its thread down when it closes."""

    def __init__(self) -> None:
        super().__init__(max_workers=1, thread_name_prefix="engine")

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Do nothing; see `end`."""

    def end(self) -> None:
        """Shut the thread down."""
        super().shutdown()


@dataclass(frozen=True, slots=True)
class LiveTarget:
    """A target engine and the thread that loaded it."""

    engine: TargetEngine
    thread: PersistentThread


async def run_live(
    target: LiveTarget, config: VerifierCoreConfig, clients: Sequence[LiveClient], plan: LivePlan
) -> RunLog:
    """Serve the clients up to the limits of the plan. Unfinished answers are dropped."""
    is_done = asyncio.Event()
    sink = RunLogSink([client.name for client in clients], lambda: _check_rounds(sink, plan, is_done))
    async with _verifier(target, config, sink) as network, contextlib.AsyncExitStack() as stack:
        drafters = [
            await stack.enter_async_context(_drafter(network, target, client, plan.seed + number))
            for number, client in enumerate(clients)
        ]
        users = [
            asyncio.create_task(_send_requests(drafter, client.prompts, plan.max_tokens, target.engine.info.end_tokens))
            for drafter, client in zip(drafters, clients, strict=True)
        ]
        is_complete = await _wait(users, is_done, plan)
        sink.stop()
        await _end(users)
    setup: dict[str, str | int | float | bool] = {"max_tokens": plan.max_tokens, "rounds": plan.rounds}
    return RunLog(setup, list(sink.rounds.values()), sink.steps, is_complete)


async def _wait(users: Sequence[asyncio.Task[None]], is_done: asyncio.Event, plan: LivePlan) -> bool:
    """Wait for the end of the run. False if the time ended before every client had its rounds."""
    waiting = asyncio.create_task(is_done.wait())
    done, _ = await asyncio.wait({waiting, *users}, timeout=plan.seconds, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    return waiting in done or plan.rounds == 0


async def _end(users: Sequence[asyncio.Task[None]]) -> None:
    """Cancel the users. Raises the exception of a user."""
    for user in users:
        user.cancel()
    for outcome in await asyncio.gather(*users, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome


def _check_rounds(sink: RunLogSink, plan: LivePlan, is_done: asyncio.Event) -> None:
    if 0 < plan.rounds <= sink.num_rounds():
        is_done.set()


@contextlib.asynccontextmanager
async def _verifier(
    target: LiveTarget, config: VerifierCoreConfig, sink: RunLogSink
) -> AsyncIterator[InProcessTransport]:
    server = VerifierServer(config, target.engine, sink, target.thread)
    sink.clients = lambda: server.stats().clients
    network = InProcessTransport(sink.timed(server.serve))
    running = asyncio.create_task(server.run())
    try:
        yield network
    finally:
        await server.close()
        await running
        await network.close()


@contextlib.asynccontextmanager
async def _drafter(
    network: InProcessTransport, target: LiveTarget, client: LiveClient, seed: int
) -> AsyncIterator[DrafterServer]:
    hello = Hello(PROTOCOL_VERSION, client.name, target.engine.info.tokenizer_fingerprint)
    core = DrafterCore(WHOLE_GRANT, np.random.default_rng(seed))
    uplink = VerifierEndpoint("here", network.connector(client.link, seed))
    server = DrafterServer(core, _drafting(client), hello, [uplink])
    running = asyncio.create_task(server.run())
    try:
        await server.meet(MEET_S)
        yield server
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def _drafting(client: LiveClient) -> DraftRunner:
    if client.pace_s:
        return ThreadDraftRunner(PacedDraft(client.engine, client.pace_s))
    return InlineDraftRunner(client.engine)


async def _send_requests(
    drafter: DrafterServer, prompts: Iterator[tuple[int, ...]], max_tokens: int, end_tokens: tuple[int, ...]
) -> None:
    """Send one greedy request after another."""
    for prompt in prompts:
        with drafter.generate(GenerationRequest(prompt, max_tokens, end_tokens=end_tokens)) as answer:
            async for _ in answer:
                pass

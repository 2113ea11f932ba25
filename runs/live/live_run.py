"""One live run: a verification server and its draft servers in one process, each with a user who always asks."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from runs.live.paced_draft import PacedDraft
from runs.live.recorder import Recorder
from runs.live.recording import Recording

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
"""Every drafter proposes all that it is granted: who gets how much is the scheduler's choice alone."""


@dataclass(frozen=True, slots=True)
class LiveClient:
    """One drafter and its user. Engine and prompts are used up by a run."""

    name: str
    engine: DraftEngine
    prompts: Iterator[tuple[int, ...]]
    """Tokens; endless."""
    link: LinkConfig | None = None
    pace_s: float = 0.0
    """Drafting time per token of the device that it stands for; 0: as fast as this machine."""


@dataclass(frozen=True, slots=True)
class LivePlan:
    """How long, and how much. The run ends when every client has its rounds, or the seconds are over."""

    max_tokens: int  # of an answer
    rounds: int  # 0: only time counts
    seconds: float = 600.0
    seed: int = 0  # of the links


class LastingThread(ThreadPoolExecutor):
    """An engine thread that the next verifier goes on with: a server parts with its thread when it closes."""

    def __init__(self) -> None:
        super().__init__(max_workers=1, thread_name_prefix="engine")

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing: see end()."""

    def end(self) -> None:
        """Shut down for good."""
        super().shutdown()


@dataclass(frozen=True, slots=True)
class LiveTarget:
    """A target engine and the thread that loaded it."""

    engine: TargetEngine
    thread: LastingThread


async def run_live(
    target: LiveTarget, config: VerifierCoreConfig, clients: Sequence[LiveClient], plan: LivePlan
) -> Recording:
    """Serve the clients until the plan is fulfilled; what the users were still waiting for is dropped."""
    enough = asyncio.Event()
    recorder = Recorder([client.name for client in clients], lambda: _see(recorder, plan, enough))
    async with _verifier(target, config, recorder) as network, contextlib.AsyncExitStack() as stack:
        drafters = [
            await stack.enter_async_context(_drafter(network, target, client, plan.seed + number))
            for number, client in enumerate(clients)
        ]
        users = [
            asyncio.create_task(_ask(drafter, client.prompts, plan.max_tokens, target.engine.info.end_tokens))
            for drafter, client in zip(drafters, clients, strict=True)
        ]
        is_complete = await _enough(users, enough, plan)
        recorder.stop()
        await _end(users)
    setup: dict[str, str | int | float | bool] = {"max_tokens": plan.max_tokens, "rounds": plan.rounds}
    return Recording(setup, list(recorder.rounds.values()), recorder.steps, is_complete)


async def _enough(users: Sequence[asyncio.Task[None]], enough: asyncio.Event, plan: LivePlan) -> bool:
    """Wait until it is enough; False if the seconds were over before the rounds were."""
    watching = asyncio.create_task(enough.wait())
    done, _ = await asyncio.wait({watching, *users}, timeout=plan.seconds, return_when=asyncio.FIRST_COMPLETED)
    watching.cancel()
    return watching in done or plan.rounds == 0


async def _end(users: Sequence[asyncio.Task[None]]) -> None:
    """Raises what a user raised."""
    for user in users:
        user.cancel()
    for outcome in await asyncio.gather(*users, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome


def _see(recorder: Recorder, plan: LivePlan, enough: asyncio.Event) -> None:
    if 0 < plan.rounds <= recorder.num_rounds():
        enough.set()


@contextlib.asynccontextmanager
async def _verifier(
    target: LiveTarget, config: VerifierCoreConfig, recorder: Recorder
) -> AsyncIterator[InProcessTransport]:
    server = VerifierServer(config, target.engine, recorder, target.thread)
    recorder.clients = lambda: server.stats().clients
    network = InProcessTransport(recorder.timed(server.serve))
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


async def _ask(
    drafter: DrafterServer, prompts: Iterator[tuple[int, ...]], max_tokens: int, end_tokens: tuple[int, ...]
) -> None:
    """One answer after the other, greedy."""
    for prompt in prompts:
        with drafter.generate(GenerationRequest(prompt, max_tokens, end_tokens=end_tokens)) as answer:
            async for _ in answer:
                pass

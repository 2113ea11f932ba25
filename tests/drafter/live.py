"""Live servers in one event loop: toy verifiers, and a drafter that connects to them in-process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from goodspeed.drafter.core.core import DrafterCore
from goodspeed.drafter.core.core_config import DrafterCoreConfig
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.drafter.draft_runner import DraftRunner, InlineDraftRunner
from goodspeed.drafter.draft_swap import SwappableDraft
from goodspeed.drafter.http.app import make_app
from goodspeed.drafter.http.service import ApiService
from goodspeed.drafter.http.serving import WebServer, listen
from goodspeed.drafter.live_feed import LiveFeed
from goodspeed.drafter.server import DrafterServer
from goodspeed.drafter.uplink import VerifierEndpoint
from goodspeed.engine.toy_draft import ToyDraft
from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.protocol.inprocess import InProcessTransport
from goodspeed.protocol.link_config import LinkConfig
from goodspeed.protocol.messages import PROTOCOL_VERSION, Hello
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.server import VerifierServer

BY_ROUNDS = VerifierCoreConfig(scheduler="fixed", budget=24)
"""A toy's steps take no time: what counts time would choose target-only mode for every stream."""


@dataclass
class LiveVerifier:
    """A verification server with a toy engine, and its in-process transport."""

    engine: ToyTarget = field(default_factory=lambda: ToyTarget(toy_info()))
    config: VerifierCoreConfig = field(default_factory=lambda: BY_ROUNDS)
    fingerprint: str = "toy"  # of the drafter's tokenizer

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["LiveVerifier"]:
        self.server = VerifierServer(self.config, self.engine)
        self.transport = InProcessTransport(self.server.serve)
        running = asyncio.create_task(self.server.run())
        try:
            yield self
        finally:
            await self.server.close()
            await running
            await self.transport.close()

    async def drained(self) -> None:
        """Wait until it holds no stream and no KV memory."""
        await until(lambda: self.engine.num_open == 0 and self.held() == (0, 0))

    async def occupied(self) -> None:
        """Wait until it holds a stream."""
        await until(lambda: self.engine.num_open > 0)

    def held(self) -> tuple[int, int]:
        """(open streams, KV tokens reserved), as /metrics reports it."""
        values = {sample.name: sample.value for metric in self.server.collect_metrics() for sample in metric.samples}
        return int(values["goodspeed_open_streams"]), int(values["goodspeed_kv_used_tokens"])


@contextlib.asynccontextmanager
async def drafter_at(
    verifiers: Sequence[LiveVerifier],
    config: DrafterCoreConfig | None = None,
    runner: DraftRunner | None = None,
    link: LinkConfig | None = None,
    meet_s: float = 10.0,
) -> AsyncIterator[DrafterServer]:
    """A running drafter that knows these verifiers and is connected to one."""
    known = [VerifierEndpoint(f"v{i}", verifier.transport.connector(link)) for i, verifier in enumerate(verifiers)]
    hello = Hello(PROTOCOL_VERSION, "drafter", verifiers[0].fingerprint)
    async with running_drafter(known, hello, config or DrafterCoreConfig(), runner, meet_s) as server:
        yield server


@contextlib.asynccontextmanager
async def running_drafter(
    verifiers: Sequence[VerifierEndpoint],
    hello: Hello,
    config: DrafterCoreConfig,
    runner: DraftRunner | None = None,
    meet_s: float = 10.0,
) -> AsyncIterator[DrafterServer]:
    """A running drafter that knows these endpoints and is connected to one."""
    core = DrafterCore(replace(config, num_verifiers=len(verifiers)), np.random.default_rng(0))
    server = DrafterServer(core, runner or InlineDraftRunner(ToyDraft(0.7)), hello, verifiers)
    running = asyncio.create_task(server.run())
    try:
        await server.meet(meet_s)
        yield server
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def read(server: DrafterServer, request: GenerationRequest) -> list[int]:
    """The whole answer."""
    with server.generate(request) as answer:
        return [token async for committed in answer for token in committed.tokens]


@contextlib.asynccontextmanager
async def api_of(
    server: DrafterServer,
    tokenizer: Tokenizer,
    api_key: str = "",
    draft: SwappableDraft | None = None,
    comment_s: float = 15.0,
) -> AsyncIterator[str]:
    """The drafter's HTTP API on a free port, as a base URL."""
    feed = LiveFeed(tokenizer.stream)
    server.watch(feed.on_event)
    service = ApiService(
        server,
        tokenizer,
        max_tokens=100,
        meet_s=5.0,
        api_key=api_key,
        draft=draft,
        comment_s=comment_s,
        live_feed=feed,
    )
    try:
        async with served(service) as url:
            yield url
    finally:
        feed.close()


@contextlib.asynccontextmanager
async def served(service: ApiService) -> AsyncIterator[str]:
    """An HTTP API on a free port, as a base URL."""
    web = WebServer(make_app(service), listen("127.0.0.1", 0), grace_s=1.0)
    running = asyncio.create_task(web.run())
    try:
        await web.started()
        yield f"http://127.0.0.1:{web.port}"
    finally:
        web.stop()
        await running


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition is true."""
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("the condition was not true within 10 s")

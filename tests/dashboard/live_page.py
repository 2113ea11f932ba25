"""A live page of one toy verifier and one drafter, in one event loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
from tests.drafter.live import LiveVerifier, api_of, drafter_at

from goodspeed.dashboard.app import make_app
from goodspeed.dashboard.reader import ServerReader
from goodspeed.drafter.http.serving import WebServer, listen
from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.verifier.metrics import LoopCollector, MetricsServer


@dataclass(frozen=True)
class LivePage:
    """Addresses of the page and of the drafter, and what reads the servers."""

    url: str
    drafter: str
    reader: ServerReader


@contextlib.asynccontextmanager
async def live_page(tokenizer: Tokenizer, password: str = "", api_key: str = "") -> AsyncIterator[LivePage]:
    """The page, until the context is left."""
    target = ToyTarget(toy_info(tokenizer.fingerprint))
    async with (
        LiveVerifier(target, fingerprint=tokenizer.fingerprint).running() as verifier,
        drafter_at([verifier]) as drafter,
        api_of(drafter, tokenizer, api_key=api_key) as drafter_url,
        metrics_of(verifier) as metrics_url,
        httpx.AsyncClient(headers={"authorization": f"Bearer {api_key}"} if api_key else {}) as client,
    ):
        reader = ServerReader(client, [metrics_url], [drafter_url])
        web = WebServer(make_app(reader, client, password), listen("127.0.0.1", 0), grace_s=0.0)
        running = asyncio.create_task(web.run())
        try:
            await web.started()
            yield LivePage(f"http://127.0.0.1:{web.port}", drafter_url, reader)
        finally:
            reader.close()
            web.stop()
            await running


@contextlib.asynccontextmanager
async def metrics_of(verifier: LiveVerifier) -> AsyncIterator[str]:
    """The address of the verifier's metrics."""
    loop = asyncio.get_running_loop()
    verifier.server.metrics.registry.register(LoopCollector(verifier.server.collect_metrics, loop))
    server = MetricsServer(verifier.server.metrics.registry, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        await asyncio.to_thread(server.close)

"""What the live page costs the servers, and whether a browser that shows 64 clients keeps its memory.

One process hosts a toy verifier and 64 drafters; every client reads an answer of 200 tokens every 32 s. The live page
runs in a process of its own, and headless Chromium opens it in every second period. Reported: CPU time of the servers'
process without and with the viewer, per server, and the browser's heap and DOM nodes over time. Chromium and its driver
are needed.

    python -m runs.live_page --periods 4 --period-s 75
"""

import argparse
import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from goodspeed.drafter.core.core import DrafterCore
from goodspeed.drafter.core.core_config import DrafterCoreConfig
from goodspeed.drafter.draft_runner import InlineDraftRunner
from goodspeed.drafter.http.app import make_app
from goodspeed.drafter.http.service import ApiService
from goodspeed.drafter.http.serving import WebServer, listen
from goodspeed.drafter.live_feed import LiveFeed
from goodspeed.drafter.server import DrafterServer
from goodspeed.drafter.uplink import VerifierEndpoint
from goodspeed.engine.toy_draft import ToyDraft
from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.engine.toy_tokenizer import toy_tokenizer
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.protocol.inprocess import InProcessTransport
from goodspeed.protocol.messages import PROTOCOL_VERSION, Hello
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.metrics import LoopCollector, MetricsServer
from goodspeed.verifier.server import VerifierServer

NUM_CLIENTS = 64
ANSWER_TOKENS = 200
HEAP_EVERY_S = 15.0
MIB = 1 << 20


@asynccontextmanager
async def running_servers(tokenizer: Tokenizer) -> AsyncIterator[tuple[str, list[str]]]:
    """Addresses of the verifier's metrics and of the drafters."""
    async with AsyncExitStack() as stack:
        engine = ToyTarget(toy_info(tokenizer.fingerprint, kv_capacity=10**8))
        verifier = VerifierServer(VerifierCoreConfig(scheduler="fixed"), engine)
        stack.callback(asyncio.create_task(verifier.run()).cancel)
        transport = InProcessTransport(verifier.serve)
        stack.push_async_callback(transport.close)
        loop = asyncio.get_running_loop()
        verifier.metrics.registry.register(LoopCollector(verifier.collect_metrics, loop))
        metrics = MetricsServer(verifier.metrics.registry, "127.0.0.1", 0)
        stack.push_async_callback(asyncio.to_thread, metrics.close)
        urls = [await _drafter(stack, transport, tokenizer, number) for number in range(NUM_CLIENTS)]
        yield f"http://127.0.0.1:{metrics.port}", urls


async def _drafter(stack: AsyncExitStack, transport: InProcessTransport, tokenizer: Tokenizer, number: int) -> str:
    core = DrafterCore(DrafterCoreConfig(), np.random.default_rng(number))
    hello = Hello(PROTOCOL_VERSION, f"client{number}", tokenizer.fingerprint)
    verifiers = [VerifierEndpoint("verifier", transport.connector(None))]
    server = DrafterServer(core, InlineDraftRunner(ToyDraft(0.7)), hello, verifiers)
    stack.callback(asyncio.create_task(server.run()).cancel)
    feed = LiveFeed(tokenizer.stream)
    server.watch(feed.on_event)
    web = WebServer(
        make_app(ApiService(server, tokenizer, 1000, meet_s=10.0, live_feed=feed)), listen("127.0.0.1", 0), 0.0
    )
    serving = asyncio.create_task(web.run())
    await web.started()
    stack.push_async_callback(_stop, web, feed, serving)
    await server.meet(10.0)
    return f"http://127.0.0.1:{web.port}"


async def _stop(web: WebServer, feed: LiveFeed, serving: asyncio.Task[None]) -> None:
    feed.close()
    web.stop()
    await serving


@dataclass
class Progress:
    """What all clients have read."""

    num_tokens: int = 0


async def read_answers(client: httpx.AsyncClient, url: str, number: int, every_s: float, progress: Progress) -> None:
    """One answer every `every_s` seconds, for ever."""
    await asyncio.sleep(every_s * number / NUM_CLIENTS)
    body = {"model": "default", "prompt": f"client {number}", "max_tokens": ANSWER_TOKENS, "temperature": 0}
    while True:
        due = asyncio.create_task(asyncio.sleep(every_s))
        (await client.post(f"{url}/v1/completions", json=body)).raise_for_status()
        progress.num_tokens += ANSWER_TOKENS
        await due


def start_page(metrics: str, drafters: list[str], folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """The process of the page, and its address."""
    ready = folder / "ready.json"
    arguments = ("--verifiers", metrics, "--drafters", *drafters, "--port", "0", "--ready-file", str(ready))
    process = subprocess.Popen([sys.executable, "-m", "goodspeed", "dashboard", *arguments], stderr=subprocess.DEVNULL)
    while not ready.exists():
        time.sleep(0.1)
    port = int(ready.read_text(encoding="utf-8").partition('"port": ')[2].partition(",")[0])
    return process, f"http://127.0.0.1:{port}/"


def view(url: str, seconds: float) -> list[str]:
    """Open the page for so long. Returns the browser's heap and DOM nodes over time, after garbage collections."""
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        driver.get(url)
        memory, end_s = [], time.monotonic() + seconds
        while time.monotonic() < end_s:
            time.sleep(min(HEAP_EVERY_S, max(0.0, end_s - time.monotonic())))
            driver.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
            heap = float(driver.execute_cdp_cmd("Runtime.getHeapUsage", {})["usedSize"]) / MIB
            nodes = driver.execute_script("return document.querySelectorAll('*').length")
            clients = driver.execute_script("return document.querySelectorAll('#clients article').length")
            memory.append(f"{heap:.1f} MiB, {nodes} nodes, {clients} clients")
        return memory
    finally:
        driver.quit()


async def measure(periods: int, period_s: float, every_s: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        toy_tokenizer(folder)
        async with (
            running_servers(Tokenizer.load(folder)) as (metrics, drafters),
            httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=None)) as client,
        ):
            progress = Progress()
            readers = [
                asyncio.create_task(read_answers(client, url, i, every_s, progress)) for i, url in enumerate(drafters)
            ]
            process, url = await asyncio.to_thread(start_page, metrics, drafters, folder)
            try:
                for period in range(periods):
                    await _period(url, progress, period_s, has_viewer=period % 2 == 1)
            finally:
                process.terminate()
                for reader in readers:
                    reader.cancel()


async def _period(url: str, progress: Progress, period_s: float, *, has_viewer: bool) -> None:
    cpu_s, start_s, num_tokens = time.process_time(), time.monotonic(), progress.num_tokens
    memory: list[str] = []
    if has_viewer:
        memory = await asyncio.to_thread(view, url, period_s)
    else:
        await asyncio.sleep(period_s)
    used_s, elapsed_s = time.process_time() - cpu_s, time.monotonic() - start_s
    num_tokens = progress.num_tokens - num_tokens
    share = used_s / elapsed_s
    print(
        f"{'with' if has_viewer else 'without'} viewer: {num_tokens / elapsed_s:.0f} tokens/s, {share:.3f} of a core, "
        f"{share / (NUM_CLIENTS + 1):.2%} of one per server, {1e6 * used_s / max(1, num_tokens):.0f} us per token",
        flush=True,
    )
    for line in memory:
        print(f"  {line}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--periods", type=int, default=4, help="periods, every second one with a viewer")
    parser.add_argument("--period-s", type=float, default=75.0, help="seconds of a period")
    parser.add_argument("--every-s", type=float, default=32.0, help="seconds from one answer of a client to the next")
    args = parser.parse_args()
    asyncio.run(measure(args.periods, args.period_s, args.every_s))


if __name__ == "__main__":
    main()

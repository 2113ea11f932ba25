"""A drafter's HTTP API whose target writes given texts: for clients, which see a model that knows how to call tools."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np

from goodspeed.drafter.core.core import DrafterCore
from goodspeed.drafter.core.core_config import DrafterCoreConfig
from goodspeed.drafter.draft_runner import InlineDraftRunner
from goodspeed.drafter.http.app import make_app
from goodspeed.drafter.http.service import ApiService
from goodspeed.drafter.http.serving import WebServer, listen
from goodspeed.drafter.server import DrafterServer
from goodspeed.drafter.uplink import VerifierEndpoint
from goodspeed.engine.grammar.compiler import GrammarCompiler
from goodspeed.engine.grammar.constrained_engine import ConstrainedDraftEngine
from goodspeed.protocol.inprocess import InProcessTransport
from goodspeed.protocol.messages import PROTOCOL_VERSION, Hello
from goodspeed.testing.text_target import TextTarget, text_draft, tool_tokenizer
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.server import VerifierServer
from goodspeed.windows.policies import WindowConfig


@contextlib.asynccontextmanager
async def text_service(
    answer_to: Callable[[str], str], kind: str = "hermes", window: int = 4, target: type[TextTarget] = TextTarget
) -> AsyncIterator[str]:
    """The base URL of a drafter that proposes `window` tokens of the target's own text.

    `answer_to` gives the text for a prompt; `kind` is the format in which the model calls tools.
    """
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = tool_tokenizer(Path(folder), kind)
    grammars = GrammarCompiler(tokenizer.to_json(), tokenizer.vocab_size, tokenizer.end_tokens)
    draft = ConstrainedDraftEngine(text_draft(answer_to, 1.0), grammars)
    config = DrafterCoreConfig(window=WindowConfig(policy="fixed", max_tokens=window))
    # A toy's steps take no time: a scheduler that counts time would choose target-only mode for every stream.
    verifier = VerifierServer(VerifierCoreConfig(scheduler="fixed"), target(tokenizer, grammars, answer_to))
    async with _running(verifier) as transport:
        hello = Hello(PROTOCOL_VERSION, "drafter", tokenizer.fingerprint)
        core = DrafterCore(config, np.random.default_rng(0))
        endpoint = VerifierEndpoint("verifier", transport.connector())
        drafter = DrafterServer(core, InlineDraftRunner(draft), hello, [endpoint])
        async with _connected(drafter), _served(ApiService(drafter, tokenizer, 1000, 5.0, grammars=grammars)) as url:
            yield url


@contextlib.asynccontextmanager
async def _running(verifier: VerifierServer) -> AsyncIterator[InProcessTransport]:
    transport = InProcessTransport(verifier.serve)
    running = asyncio.create_task(verifier.run())
    try:
        yield transport
    finally:
        await verifier.close()
        await running
        await transport.close()


@contextlib.asynccontextmanager
async def _connected(drafter: DrafterServer) -> AsyncIterator[None]:
    running = asyncio.create_task(drafter.run())
    try:
        await drafter.meet(10.0)
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@contextlib.asynccontextmanager
async def _served(service: ApiService) -> AsyncIterator[str]:
    web = WebServer(make_app(service), listen("127.0.0.1", 0), grace_s=1.0)
    running = asyncio.create_task(web.run())
    try:
        await web.started()
        yield f"http://127.0.0.1:{web.port}"
    finally:
        web.stop()
        await running

"""What a client receives before its first token, and while a connection is idle."""

import asyncio
import threading
from collections.abc import Sequence

import httpx
import pytest
from tests.drafter.live import LiveVerifier, api_of, drafter_at

from goodspeed.drafter.drafter_config import DrafterConfig
from goodspeed.drafter.http.app import make_app
from goodspeed.drafter.http.service import ApiService
from goodspeed.drafter.http.serving import WebServer, listen
from goodspeed.engine.interface import Outcome, Work
from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.models.tokenizer import Tokenizer

BODIES: dict[str, dict[str, object]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "x"}]},
    "/v1/completions": {"prompt": "x"},
}


class WaitingTarget(ToyTarget):
    """Its first step waits until `may_step` is set."""

    def __init__(self, fingerprint: str) -> None:
        super().__init__(toy_info(fingerprint))
        self.may_step = threading.Event()

    def step(self, batch: Sequence[Work]) -> list[Outcome]:
        assert self.may_step.wait(30)
        return super().step(batch)


@pytest.mark.parametrize("path", BODIES)
async def test_status_and_role_come_at_acceptance_and_comments_in_silence(tokenizer: Tokenizer, path: str) -> None:
    """litellm#34819, llama.cpp#23884: the first token waits for the test to see the rest."""
    target = WaitingTarget(tokenizer.fingerprint)
    async with (
        LiveVerifier(target, fingerprint=tokenizer.fingerprint).running() as verifier,
        drafter_at([verifier]) as drafter,
        api_of(drafter, tokenizer, comment_s=0.02) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        body = {"model": "toy", "max_tokens": 3, "temperature": 0, "stream": True, **BODIES[path]}
        async with client.stream("POST", path, json=body) as response:
            assert response.status_code == 200
            lines: list[str] = []
            async for line in response.aiter_lines():
                lines.append(line)
                if sum(line.startswith(":") for line in lines) == 2:
                    target.may_step.set()
    before = lines[: next(i for i, line in enumerate(lines) if line.startswith(":"))]
    assert any('"role":"assistant"' in line for line in before) == ("chat" in path)
    assert lines[-2] == "data: [DONE]"
    assert '"finish_reason":"length"' in "".join(lines)


async def test_idle_connection_is_closed_after_its_time_and_not_before(tokenizer: Tokenizer) -> None:
    assert DrafterConfig().keep_alive_s == 75.0
    async with LiveVerifier().running() as verifier, drafter_at([verifier]) as drafter:
        app = make_app(ApiService(drafter, tokenizer, max_tokens=100, meet_s=1.0))
        web = WebServer(app, listen("127.0.0.1", 0), grace_s=1.0, keep_alive_s=1.0)
        running = asyncio.create_task(web.run())
        await web.started()
        reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
        for _ in range(2):  # the connection is used again
            writer.write(b"GET /version HTTP/1.1\r\nhost: x\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        assert await reader.read() == b""
        writer.close()
        web.stop()
        await running

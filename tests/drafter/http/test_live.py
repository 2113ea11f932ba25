"""GET /live over HTTP: the text of answers, for clients that have access only."""

import json

import httpx
from tests.drafter.live import LiveVerifier, api_of, drafter_at

from goodspeed.drafter.http.app import make_app
from goodspeed.drafter.http.service import ApiService
from goodspeed.drafter.live_feed import LiveFeed
from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.models.tokenizer import Tokenizer

BODY = {"model": "default", "prompt": "the quick brown", "max_tokens": 40, "temperature": 0}


async def test_feed_has_the_text_of_the_answer_and_the_accepted_tokens(tokenizer: Tokenizer) -> None:
    target = ToyTarget(toy_info(tokenizer.fingerprint))
    async with (
        LiveVerifier(target, fingerprint=tokenizer.fingerprint).running() as verifier,
        drafter_at([verifier]) as drafter,
        api_of(drafter, tokenizer, comment_s=0.05) as url,
        httpx.AsyncClient(base_url=url) as client,
        client.stream("GET", "/live") as feed,
    ):
        lines = feed.aiter_lines()
        assert await anext(lines) == ": live"
        answer = (await client.post("/v1/completions", json=BODY)).json()
        texts: list[dict[str, object]] = []
        async for line in lines:
            if line.startswith("data: "):
                texts.append(json.loads(line.removeprefix("data: ")))
                if texts[-1]["finish"]:
                    break
        assert ": no answer" in [await anext(lines) for _ in range(3)]  # comments while nothing is committed
    parts = [part for text in texts for part in text["parts"]]  # type: ignore[attr-defined]
    assert "".join(text for _, text in parts) == answer["choices"][0]["text"]
    num_remote = sum(len(text.encode()) for origin, text in parts if origin == "remote")
    assert num_remote == answer["goodspeed"]["accepted"] > 0


async def test_feed_needs_this_machine_or_the_key(tokenizer: Tokenizer) -> None:
    async with LiveVerifier().running() as verifier, drafter_at([verifier]) as drafter:
        feed = LiveFeed(tokenizer.stream)
        feed.close()  # an open feed would not end, and this client reads whole responses

        async def status(host: str, api_key: str, headers: dict[str, str]) -> int:
            app = make_app(ApiService(drafter, tokenizer, 100, meet_s=1.0, api_key=api_key, live_feed=feed))
            transport = httpx.ASGITransport(app, client=(host, 5000))
            async with httpx.AsyncClient(transport=transport, base_url="http://drafter") as client:
                return (await client.get("/live", headers=headers)).status_code

        assert await status("127.0.0.1", "", {}) == 200
        assert await status("127.0.0.1", "", {"host": "evil.example"}) == 403
        assert await status("10.0.0.7", "", {}) == 403
        assert await status("127.0.0.1", "secret", {}) == 401
        assert await status("10.0.0.7", "secret", {"authorization": "Bearer secret"}) == 200

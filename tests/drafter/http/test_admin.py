"""The draft engine is exchanged over HTTP by those who may, and by nobody else."""

import contextlib
from collections.abc import AsyncIterator

import httpx
import pytest
from tests.drafter.live import LiveVerifier, drafter_at, read

from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.drafter.draft_swap import SwappableDraft
from goodspeed.drafter.http.app import make_app
from goodspeed.drafter.http.service import ApiService
from goodspeed.engine.drafts import DraftConfig
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.testing.virtual_drafter import target_only_tokens

REQUEST = GenerationRequest(tuple(b"the quick brown"), max_tokens=60)
KEY = {"authorization": "Bearer secret"}


@contextlib.asynccontextmanager
async def admin_of(
    tokenizer: Tokenizer, api_key: str = "", host: str = "127.0.0.1"
) -> AsyncIterator[httpx.AsyncClient]:
    """A client at that address, of a drafter that has answered one request before; after it, it answers another."""
    slot = SwappableDraft(DraftConfig(engine="toy", acceptance_rate=0.5), tokenizer)
    async with LiveVerifier().running() as verifier, drafter_at([verifier], drafting=slot.runner) as drafter:
        drafter.metrics.watch_draft(lambda: (slot.config.name, slot.num_swaps))
        app = make_app(ApiService(drafter, tokenizer, max_tokens=100, meet_s=1.0, api_key=api_key, slot=slot))
        assert await read(drafter, REQUEST) == target_only_tokens(REQUEST)
        transport = httpx.ASGITransport(app, client=(host, 5000))
        async with httpx.AsyncClient(transport=transport, base_url="http://drafter") as client:
            yield client
        assert await read(drafter, REQUEST) == target_only_tokens(REQUEST)


async def test_draft_is_exchanged_and_shown(tokenizer: Tokenizer) -> None:
    async with admin_of(tokenizer) as client:
        reply = await client.post("/admin/draft", json={"engine": "hybrid", "table_slots": 64})
        assert reply.status_code == 200
        shown = (await client.get("/admin/draft")).json()
        assert (shown["draft"], shown["swaps"]) == ("hybrid", 1)
        assert shown["config"]["acceptance_rate"] == 0.5  # what was not named stays
        metrics = (await client.get("/metrics")).text
    assert 'goodspeed_drafter_draft{draft="hybrid"} 1.0' in metrics
    assert "goodspeed_drafter_draft_swaps_total 1.0" in metrics


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"engin": "hybrid"}, "did you mean 'engine'"),
        ({"engine": "hybrid", "table": "/no/such/file"}, "/no/such/file"),
        ({"acceptance_rate": 7}, "acceptance_rate is 7"),
        ([1], "expected an object"),
    ],
)
async def test_wrong_request_changes_nothing(tokenizer: Tokenizer, body: object, complaint: str) -> None:
    async with admin_of(tokenizer) as client:
        reply = await client.post("/admin/draft", json=body)
        assert reply.status_code == 400
        assert complaint in reply.json()["error"]["message"]
        assert (await client.get("/admin/draft")).json()["swaps"] == 0


async def test_page_in_a_browser_cannot_ask(tokenizer: Tokenizer) -> None:
    async with admin_of(tokenizer) as client:
        reply = await client.post("/admin/draft", content=b"{}", headers={"content-type": "text/plain"})
        assert reply.status_code == 415


async def test_without_a_key_only_this_machine_may_ask(tokenizer: Tokenizer) -> None:
    async with admin_of(tokenizer, host="10.0.0.7") as client:
        for reply in (await client.get("/admin/draft"), await client.post("/admin/draft", json={})):
            assert reply.status_code == 403


async def test_with_a_key_only_those_who_have_it_may_ask(tokenizer: Tokenizer) -> None:
    async with admin_of(tokenizer, api_key="secret") as client:
        assert (await client.post("/admin/draft", json={})).status_code == 401
        assert (await client.post("/admin/draft", json={}, headers=KEY)).status_code == 200
    async with admin_of(tokenizer, api_key="secret", host="10.0.0.7") as client:
        assert (await client.get("/admin/draft", headers=KEY)).status_code == 200

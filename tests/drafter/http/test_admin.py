"""The draft engine is replaced over HTTP, by clients that have access only."""

import contextlib
import json
import math
from collections.abc import AsyncIterator
from dataclasses import fields

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
    """A client at that address. The drafter answers one request before and one after."""
    draft = SwappableDraft(DraftConfig(engine="toy", acceptance_rate=0.5), tokenizer)
    async with LiveVerifier().running() as verifier, drafter_at([verifier], runner=draft.runner) as drafter:
        drafter.metrics.watch_draft(lambda: (draft.config.name, draft.num_swaps))
        app = make_app(ApiService(drafter, tokenizer, max_tokens=100, meet_s=1.0, api_key=api_key, draft=draft))
        assert await read(drafter, REQUEST) == target_only_tokens(REQUEST)
        transport = httpx.ASGITransport(app, client=(host, 5000))
        async with httpx.AsyncClient(transport=transport, base_url="http://drafter") as client:
            yield client
        assert await read(drafter, REQUEST) == target_only_tokens(REQUEST)


async def test_draft_is_replaced_and_shown(tokenizer: Tokenizer) -> None:
    async with admin_of(tokenizer) as client:
        reply = await client.post("/admin/draft", json={"engine": "hybrid", "table_slots": 64})
        assert reply.status_code == 200
        shown = (await client.get("/admin/draft")).json()
        assert (shown["draft"], shown["swaps"]) == ("hybrid", 1)
        assert shown["config"]["acceptance_rate"] == 0.5  # the other keys keep their values
        metrics = (await client.get("/metrics")).text
    assert 'goodspeed_drafter_draft{draft="hybrid"} 1.0' in metrics
    assert "goodspeed_drafter_draft_swaps_total 1.0" in metrics


@pytest.mark.parametrize(
    ("body", "complaint"),
    [({"engin": "hybrid"}, "did you mean 'engine'"), ([1], "expected an object")],
)
async def test_wrong_request_changes_nothing(tokenizer: Tokenizer, body: object, complaint: str) -> None:
    async with admin_of(tokenizer) as client:
        reply = await client.post("/admin/draft", json=body)
        assert reply.status_code == 400
        assert complaint in reply.json()["error"]["message"]
        assert (await client.get("/admin/draft")).json()["swaps"] == 0


WRONG_VALUES: dict[str, list[tuple[object, dict[str, object]]]] = {  # by key: the value, and the keys beside it
    "engine": [("hybird", {}), (None, {}), (["hybrid"], {})],
    "model": [("no/such-model", {"engine": "torch"}), (5, {})],
    "runtime": [("llama", {}), (None, {}), ("", {})],
    "llama": [("f16", {}), (7, {})],
    "memory": [("/proc/version", {"engine": "hybrid"}), (7, {})],
    "table": [("/no/such/file", {"engine": "hybrid"}), (False, {})],
    "table_slots": [(7, {}), (2**27, {}), (1.5, {}), ("64", {}), (True, {})],
    "acceptance_rate": [(-0.1, {}), (7, {}), (math.nan, {}), ("high", {})],
    "seed": [(-1, {}), (2**70, {}), (0.5, {})],
    "device": [("gpu", {}), ("", {}), (0, {})],
    "dtype": [("fp8", {}), ("float32", {}), (32, {})],
    "threads": [(0, {}), (10**9, {}), (2**40, {}), ("all", {})],
    "kept_caches": [(-1, {}), ("all", {})],
    "kv_memory_mb": [(0, {}), (2**50, {}), (math.inf, {})],
}


async def test_wrong_value_of_any_key_is_a_400_that_names_it(tokenizer: Tokenizer) -> None:
    assert set(WRONG_VALUES) == {field.name for field in fields(DraftConfig)}
    async with admin_of(tokenizer) as client:
        for key, values in WRONG_VALUES.items():
            for value, others in values:
                body = json.dumps({key: value, **others})
                reply = await client.post("/admin/draft", content=body, headers={"content-type": "application/json"})
                assert reply.status_code == 400, (key, value)
                assert str(value) in reply.json()["error"]["message"]
        assert (await client.get("/admin/draft")).json()["swaps"] == 0


async def test_engine_that_fails_while_it_is_loaded_is_a_400_that_names_the_change(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_out_of_memory(*_: object) -> None:
        raise RuntimeError("cannot allocate memory")

    async with admin_of(tokenizer) as client:
        monkeypatch.setattr("goodspeed.drafter.draft_swap.draft_engine", run_out_of_memory)
        reply = await client.post("/admin/draft", json={"kv_memory_mb": 2**20})
        assert reply.status_code == 400
        assert "{'kv_memory_mb': 1048576}: cannot allocate memory" in reply.json()["error"]["message"]


async def test_failed_engine_is_shown_and_can_be_loaded_again(
    tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """vllm#13175: answers went on without drafts, and nobody was notified."""

    def fail(*_: object) -> None:
        raise IndexError("index out of range")

    chat = {"model": "toy", "prompt": "x", "max_tokens": 8, "temperature": 0}
    async with admin_of(tokenizer) as client:
        with monkeypatch.context() as broken:
            broken.setattr("goodspeed.engine.toy_draft.ToyDraft.draft", fail)
            assert (await client.post("/v1/completions", json=chat)).status_code == 200
        assert (await client.get("/health")).json()["draft"] == "failed"
        caplog.clear()
        await client.post("/admin/draft", json={})
        assert "draft" not in (await client.get("/health")).json()
        reply = (await client.post("/v1/completions", json={**chat, "max_tokens": 60})).json()
        assert reply["goodspeed"]["accepted"] > 0


async def test_page_in_a_browser_has_no_access(tokenizer: Tokenizer) -> None:
    async with admin_of(tokenizer) as client:
        reply = await client.post("/admin/draft", content=b"{}", headers={"content-type": "text/plain"})
        assert reply.status_code == 415


async def test_without_a_key_only_this_machine_has_access(tokenizer: Tokenizer) -> None:
    async with admin_of(tokenizer, host="10.0.0.7") as client:
        for reply in (await client.get("/admin/draft"), await client.post("/admin/draft", json={})):
            assert reply.status_code == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:8000", 200), ("127.0.0.1:8000", 200), ("[::1]:8000", 200), ("evil.example.com:8000", 403)],
)
async def test_page_of_a_domain_that_resolves_to_this_machine_has_no_access(
    tokenizer: Tokenizer, host: str, status: int
) -> None:
    async with admin_of(tokenizer) as client:
        assert (await client.get("/admin/draft", headers={"host": host})).status_code == status


async def test_with_a_key_only_its_holders_have_access(tokenizer: Tokenizer) -> None:
    async with admin_of(tokenizer, api_key="secret") as client:
        assert (await client.post("/admin/draft", json={})).status_code == 401
        assert (await client.post("/admin/draft", json={}, headers=KEY)).status_code == 200
    async with admin_of(tokenizer, api_key="secret", host="10.0.0.7") as client:
        assert (await client.get("/admin/draft", headers=KEY)).status_code == 200

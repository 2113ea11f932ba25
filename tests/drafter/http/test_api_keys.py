"""Named API keys, the operator's key, revocation, and what is counted of requests."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.drafter.live import LiveVerifier, drafter_at

from goodspeed.credentials.credentials_file import CredentialsFile, add_credential, remove_credential
from goodspeed.drafter.draft_swap import SwappableDraft
from goodspeed.drafter.http.app import make_app
from goodspeed.drafter.http.middleware import OPEN
from goodspeed.drafter.http.service import ApiService
from goodspeed.drafter.http.serving import WebServer, listen
from goodspeed.drafter.live_feed import LiveFeed
from goodspeed.engine.drafts import DraftConfig
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.protocol.link_config import LinkConfig

LONG = {"model": "default", "prompt": "the quick", "max_tokens": 4000, "temperature": 0}
SHORT = {**LONG, "max_tokens": 5}
Samples = dict[str, dict[tuple[str, ...], float]]
"""By metric name and label values."""


@dataclass
class KeyedApi:
    """A drafter's API over HTTP, with a file of keys."""

    client: httpx.AsyncClient
    verifier: LiveVerifier
    path: Path
    file: CredentialsFile
    keys: dict[str, str]

    def as_user(self, name: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.keys[name]}"}

    def revoke(self, name: str) -> None:
        remove_credential(self.path, name)
        self.file.reload()

    async def samples(self) -> Samples:
        found: Samples = {}
        for family in text_string_to_metric_families((await self.client.get("/metrics")).text):
            for sample in family.samples:
                found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
        return found


@contextlib.asynccontextmanager
async def keyed_api(
    tokenizer: Tokenizer, folder: Path, operator_key: str = "", rtt_ms: float = 0.0, max_requests: int = 1024
) -> AsyncIterator[KeyedApi]:
    path = folder / "keys"
    keys = {name: add_credential(path, name) for name in ("ann", "bob")}
    keys |= {"operator": operator_key, "guess": "guess"}
    file, draft = CredentialsFile(path), SwappableDraft(DraftConfig(engine="toy"), tokenizer)
    async with (
        LiveVerifier().running() as verifier,
        drafter_at([verifier], link=LinkConfig(rtt_ms=rtt_ms) if rtt_ms else None) as drafter,
    ):
        feed = LiveFeed(tokenizer.stream)
        feed.close()
        service = ApiService(drafter, tokenizer, 100, 5.0, operator_key, file, draft=draft, live_feed=feed)
        service = replace(service, max_requests=max_requests)
        web = WebServer(make_app(service), listen("127.0.0.1", 0), grace_s=1.0)
        async with _running(web) as url, httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
            yield KeyedApi(client, verifier, path, file, keys)


@contextlib.asynccontextmanager
async def _running(web: WebServer) -> AsyncIterator[str]:
    running = asyncio.create_task(web.run())
    try:
        await web.started()
        yield f"http://127.0.0.1:{web.port}"
    finally:
        web.stop()
        await running


async def test_holders_of_keys_are_served_and_counted_by_name(tokenizer: Tokenizer, tmp_path: Path) -> None:
    async with keyed_api(tokenizer, tmp_path, operator_key="the operator's") as api:
        for name, status in {"ann": 200, "bob": 200, "operator": 200, "guess": 401}.items():
            reply = await api.client.post("/v1/completions", json=SHORT, headers=api.as_user(name))
            assert reply.status_code == status
        await api.client.get("/v1/models", headers=api.as_user("ann"))
        without = await api.client.get("/v1/models")
        assert (without.status_code, without.headers["www-authenticate"]) == (401, "Bearer")
        assert without.json()["error"]["code"] == "invalid_api_key"
        samples = await api.samples()
    by_key = {("ann",): 2.0, ("bob",): 1.0, ("operator",): 1.0}
    assert samples["goodspeed_drafter_api_key_requests_total"] == by_key
    assert samples["goodspeed_drafter_http_requests_total"] == {
        ("/v1/completions", "200"): 3.0,
        ("/v1/completions", "401"): 1.0,
        ("/v1/models", "200"): 1.0,
        ("/v1/models", "401"): 1.0,
    }
    assert samples["goodspeed_drafter_http_requests_in_progress"] == {(): 1.0}, "that for the metrics"


@pytest.mark.parametrize(
    "path",
    ["/v1/chat/completions", "/v1/models/x", "/tokenize", "/admin/draft", "/live", "/", "/nothing", "//v1/models",
     "/V1/models", "/v1", "/%76%31/models", "/health/../v1/models", "/healthy"],
)  # fmt: skip
async def test_every_path_but_the_open_ones_needs_a_key(tokenizer: Tokenizer, tmp_path: Path, path: str) -> None:
    """vllm#58144: a path that the check did not know was open."""
    async with keyed_api(tokenizer, tmp_path) as api:
        for method in ("GET", "POST", "PUT", "HEAD"):
            assert (await api.client.request(method, path)).status_code == 401
        assert [(await api.client.get(page)).status_code for page in OPEN] == [200] * len(OPEN)


async def test_a_named_key_neither_administers_nor_watches(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Although the request comes from this machine, as every request behind a proxy does."""
    async with keyed_api(tokenizer, tmp_path, operator_key="the operator's") as api:
        for path in ("/admin/draft", "/live"):
            assert (await api.client.get(path, headers=api.as_user("ann"))).status_code == 403
            assert (await api.client.get(path, headers=api.as_user("operator"))).status_code == 200
        swap = await api.client.post("/admin/draft", json={"engine": "none"}, headers=api.as_user("bob"))
        assert swap.status_code == 403
    (tmp_path / "keys").unlink()
    async with keyed_api(tokenizer, tmp_path) as api:
        assert (await api.client.get("/admin/draft", headers=api.as_user("ann"))).status_code == 403


async def test_answers_under_a_revoked_key_are_cut_and_others_finish(tokenizer: Tokenizer, tmp_path: Path) -> None:
    async with keyed_api(tokenizer, tmp_path, rtt_ms=10.0) as api:
        body = {**LONG, "stream": True}
        async with (
            api.client.stream("POST", "/v1/completions", json=body, headers=api.as_user("ann")) as cut,
            api.client.stream(
                "POST", "/v1/completions", json={**body, "max_tokens": 100}, headers=api.as_user("bob")
            ) as other,
        ):
            cut_lines, other_lines = cut.aiter_lines(), other.aiter_lines()
            await anext(cut_lines)
            await anext(other_lines)
            api.revoke("ann")
            last = [line async for line in cut_lines if line][-1]
            assert json.loads(last.removeprefix("data: "))["error"] == {
                "message": "the API key was revoked",
                "type": "invalid_request_error",
                "param": None,
                "code": "invalid_api_key",
            }
            assert [line async for line in other_lines if line][-1] == "data: [DONE]"
        await api.verifier.drained()
        again = await api.client.post("/v1/completions", json=SHORT, headers=api.as_user("ann"))
        assert again.status_code == 401
        assert (await api.client.get("/v1/models", headers=api.as_user("bob"))).status_code == 200


async def test_an_answer_that_is_not_streamed_becomes_a_401(tokenizer: Tokenizer, tmp_path: Path) -> None:
    async with keyed_api(tokenizer, tmp_path, rtt_ms=10.0) as api:
        waiting = asyncio.create_task(api.client.post("/v1/completions", json=LONG, headers=api.as_user("ann")))
        await api.verifier.occupied()
        api.revoke("ann")
        reply = await waiting
        assert (reply.status_code, reply.json()["error"]["message"]) == (401, "the API key was revoked")
        await api.verifier.drained()


async def test_requests_beyond_the_limit_are_refused_and_counted(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """uvicorn#865: idle connections count as requests, and the refusal has neither a reason nor `Retry-After`."""
    async with keyed_api(tokenizer, tmp_path, rtt_ms=10.0, max_requests=1) as api:
        headers = api.as_user("ann")
        async with api.client.stream(
            "POST", "/v1/completions", json={**LONG, "stream": True}, headers=headers
        ) as first:
            lines = first.aiter_lines()
            await anext(lines)
            second = await api.client.post("/v1/completions", json=SHORT, headers=headers)
            assert (second.status_code, second.headers["retry-after"]) == (503, "2")
            assert second.json()["error"]["message"] == "1 requests are in progress already"
            assert (await api.client.get("/health")).status_code == 200
            samples = await api.samples()
            assert samples["goodspeed_drafter_http_requests_in_progress"] == {(): 2.0}, "vllm-mlx#781: not ended yet"
        assert samples["goodspeed_drafter_http_requests_total"]["/v1/completions", "503"] == 1.0
        await api.verifier.drained()
        assert (await api.client.post("/v1/completions", json=SHORT, headers=headers)).status_code == 200


async def test_paths_without_a_page_are_one_label(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """starlette-prometheus#7, otari#264: scanners probe ever new paths, and each would be a time series."""
    async with keyed_api(tokenizer, tmp_path) as api:
        for number in range(50):
            await api.client.get(f"/wp-admin/{number}", headers=api.as_user("ann"))
            await api.client.get(f"/v1/models/model-{number}", headers=api.as_user("ann"))
        samples = await api.samples()
    assert samples["goodspeed_drafter_http_requests_total"] == {
        ("other", "404"): 50.0,
        ("/v1/models/{model}", "404"): 50.0,
    }


async def test_a_client_that_leaves_before_the_response_is_counted_as_such(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    async with keyed_api(tokenizer, tmp_path, rtt_ms=10.0) as api:
        with pytest.raises(httpx.ReadTimeout):
            await api.client.post("/v1/completions", json=LONG, headers=api.as_user("ann"), timeout=0.3)
        await api.verifier.drained()
        counted: list[Samples] = []

        async def is_counted() -> bool:
            counted.append(await api.samples())
            return ("/v1/completions", "499") in counted[-1].get("goodspeed_drafter_http_requests_total", {})

        while not await is_counted():
            pass
        assert counted[-1]["goodspeed_drafter_http_requests_in_progress"] == {(): 1.0}

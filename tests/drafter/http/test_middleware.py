"""Request ids, web pages of other origins, the API key, and pages without text generation."""

import contextlib
from collections.abc import AsyncIterator

import httpx
import pytest
from tests.drafter.live import LiveVerifier, drafter_at

import goodspeed
from goodspeed.drafter.draft_swap import SwappableDraft
from goodspeed.drafter.http.app import make_app
from goodspeed.drafter.http.service import ApiService
from goodspeed.engine.drafts import DraftConfig
from goodspeed.models.tokenizer import Tokenizer

PAGE = "https://chat.example.com"
CHAT = "/v1/chat/completions"


@contextlib.asynccontextmanager
async def api(
    tokenizer: Tokenizer, origins: tuple[str, ...] = (), api_key: str = ""
) -> AsyncIterator[httpx.AsyncClient]:
    draft = SwappableDraft(DraftConfig(engine="none"), tokenizer)
    async with LiveVerifier().running() as verifier, drafter_at([verifier]) as drafter:
        service = ApiService(drafter, tokenizer, 100, 1.0, api_key=api_key, draft=draft, cors_origins=origins)
        transport = httpx.ASGITransport(make_app(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://drafter") as client:
            yield client


async def preflight(client: httpx.AsyncClient, path: str, origin: str = PAGE) -> httpx.Response:
    headers = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-stainless-lang",
    }
    return await client.options(path, headers=headers)


@pytest.mark.parametrize("api_key", ["", "secret"])
@pytest.mark.parametrize("origins", [(PAGE,), ("*",)])
async def test_pages_of_allowed_origins_may_use_the_api(
    tokenizer: Tokenizer, api_key: str, origins: tuple[str, ...]
) -> None:
    """sonar#434, llama.cpp#6544."""
    async with api(tokenizer, origins, api_key) as client:
        allowed = await preflight(client, CHAT)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] in {PAGE, "*"}
        assert "authorization" in allowed.headers["access-control-allow-headers"]
        for key in ("secret", "wrong"):  # a page can read the error as well
            reply = await client.get("/v1/models", headers={"origin": PAGE, "authorization": f"Bearer {key}"})
            assert reply.status_code == (401 if api_key and key == "wrong" else 200)
            assert reply.headers["access-control-allow-origin"] in {PAGE, "*"}


@pytest.mark.parametrize("api_key", ["", "secret"])
async def test_other_pages_may_not(tokenizer: Tokenizer, api_key: str) -> None:
    async with api(tokenizer, (PAGE,), api_key) as client:
        refused = await preflight(client, CHAT, "https://evil.example.com")
        assert refused.status_code == 400
        assert "access-control-allow-origin" not in refused.headers
        admin = await preflight(client, "/admin/draft")
        assert admin.status_code == 405
        assert "access-control-allow-origin" not in admin.headers
    async with api(tokenizer, api_key=api_key) as client:
        without = await preflight(client, CHAT)
        assert without.status_code == 405  # never 401
        assert "access-control-allow-origin" not in without.headers


@pytest.mark.parametrize(
    ("header", "status"),
    [("Bearer secret", 200), ("bearer secret", 200), ("Bearer  secret", 200), ("Basic secret", 401), ("secret", 401)],
)
async def test_scheme_of_the_key_is_case_insensitive(tokenizer: Tokenizer, header: str, status: int) -> None:
    async with api(tokenizer, api_key="secret") as client:
        assert (await client.get("/v1/models", headers={"authorization": header})).status_code == status


@pytest.mark.parametrize(
    ("path", "method"),
    [("/v1/models/", "GET"), ("//v1/models", "GET"), ("/v1//completions//", "POST"), ("/metrics/", "GET")],
)
async def test_slashes_too_many_do_no_harm(tokenizer: Tokenizer, path: str, method: str) -> None:
    """litellm#30079: a redirect, which scrapers do not follow, and which behind a TLS proxy leads to plain HTTP."""
    async with api(tokenizer, api_key="secret") as client:
        body = {"model": "toy", "prompt": "a", "max_tokens": 1} if method == "POST" else None
        url = httpx.URL("http://drafter").copy_with(raw_path=path.encode())
        without = await client.request(method, url, json=body)
        assert without.status_code == (200 if path == "/metrics/" else 401)
        reply = await client.request(method, url, json=body, headers={"authorization": "Bearer secret"})
        assert reply.status_code == 200


async def test_a_key_of_other_characters_is_wrong_and_no_more(tokenizer: Tokenizer) -> None:
    """omlx#1717: 500."""
    async with api(tokenizer, api_key="secret") as client:
        for key in ("schlüssel", "“secret”", "\x00", ""):
            headers = {b"authorization": b"Bearer " + key.encode()}
            assert (await client.get("/v1/models", headers=headers)).status_code == 401


async def test_every_response_has_a_request_id(tokenizer: Tokenizer) -> None:
    async with api(tokenizer, api_key="secret") as client:
        ids = [(await client.get(path)).headers["x-request-id"] for path in ("/health", "/v1/models", "/nothing")]
        assert len(set(ids)) == 3
        given = await client.post(CHAT, headers={"x-request-id": "abc-1"})
        assert given.headers["x-request-id"] == "abc-1"


async def test_version_is_shown(tokenizer: Tokenizer) -> None:
    async with api(tokenizer) as client:
        assert (await client.get("/version")).json() == {"version": goodspeed.__version__}


async def test_texts_and_chats_are_tokenized_and_back(tokenizer: Tokenizer) -> None:
    messages = [{"role": "user", "content": "naïve 🦊"}]
    async with api(tokenizer) as client:
        for body, expected in (
            ({"prompt": "naïve"}, tokenizer.encode("naïve")),
            ({"model": "toy", "messages": messages}, tokenizer.encode_chat(messages)),
        ):
            found = (await client.post("/tokenize", json={**body, "return_token_strs": True})).json()
            assert found["tokens"] == expected
            assert (found["count"], found["max_model_len"]) == (len(expected), 4096)
            assert len(found["token_strs"]) == len(expected)
            text = (await client.post("/detokenize", json={"tokens": expected})).json()["prompt"]
            assert text == tokenizer.decode(expected, has_special=True)
        assert text.startswith("<|im_start|>user\nnaïve 🦊")


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/tokenize", {}, "prompt"),
        ("/tokenize", {"prompt": "a", "messages": []}, "prompt"),
        ("/tokenize", {"promt": "a"}, "promt"),
        ("/detokenize", {"tokens": [-1]}, "tokens"),
        ("/detokenize", {"tokens": [2**70]}, "tokens"),
        ("/detokenize", {"tokens": "abc"}, "tokens"),
    ],
)
async def test_wrong_field_of_tokenization_is_named(
    tokenizer: Tokenizer, path: str, body: dict[str, object], param: str
) -> None:
    async with api(tokenizer) as client:
        reply = await client.post(path, json=body)
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)

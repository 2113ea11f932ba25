"""A wrong request gets an error in OpenAI's form that names the field, and leaves no stream behind."""

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator

import httpx
import numpy as np
import pytest
from tests.drafter.live import LiveVerifier, drafter_at, until

from goodspeed.drafter.core.core import DrafterCore
from goodspeed.drafter.core.core_config import DrafterCoreConfig, RetryConfig
from goodspeed.drafter.draft_runner import InlineDraftRunner
from goodspeed.drafter.http.app import make_app
from goodspeed.drafter.http.exchange import MAX_BODY_BYTES
from goodspeed.drafter.http.service import ApiService
from goodspeed.drafter.server import DrafterServer
from goodspeed.drafter.uplink import VerifierEndpoint
from goodspeed.engine.null_draft import NullDraft
from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.errors import LinkLostError
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.protocol.messages import PROTOCOL_VERSION, Hello
from goodspeed.protocol.transport import Connection

CHAT = {"model": "toy", "messages": [{"role": "user", "content": "x"}], "max_tokens": 4, "temperature": 0}
COMPLETION = {"model": "toy", "prompt": "x", "max_tokens": 4, "temperature": 0}
PATHS = {"chat": "/v1/chat/completions", "completion": "/v1/completions"}

# endpoint, changed fields, status, param, words of the message
WRONG: list[tuple[str, dict[str, object], str, str]] = [
    ("chat", {"temprature": 1}, "temprature", "did you mean 'temperature'"),
    ("chat", {"temperature": "warm"}, "temperature", "Expected `float | null`, got `str`"),
    ("chat", {"temperature": -1}, "temperature", "expected 0 to 100"),
    ("chat", {"temperature": True}, "temperature", "got `bool`"),
    ("chat", {"top_p": 0}, "top_p", "at most 1"),
    ("chat", {"top_k": -2}, "top_k", "0 \\(off\\)"),
    ("chat", {"seed": 1.5}, "seed", "got `float`"),
    ("chat", {"max_tokens": 0}, "max_tokens", "1 or more"),
    ("chat", {"max_completion_tokens": -3}, "max_completion_tokens", "1 or more"),
    ("chat", {"n": 0}, "n", "1 to 128"),
    ("chat", {"n": 1000}, "n", "1 to 128"),
    ("chat", {"stop": ["a", "b", "c", "d", "e"]}, "stop", "up to 4"),
    ("chat", {"stop": ""}, "stop", "non-empty"),
    ("chat", {"stop": [1]}, "stop[0]", "got `int`"),
    ("chat", {"stop": ["<|im_start|>user"]}, "stop", "'<.im_start.>' in it has no text"),
    ("chat", {"stream": "yes"}, "stream", "got `str`"),
    ("chat", {"stream_options": {"usage": True}}, "stream_options", "unknown field `usage`"),
    ("chat", {"logprobs": 3}, "logprobs", "got `int`"),
    ("chat", {"top_logprobs": 5}, "top_logprobs", "which needs logprobs: true"),
    ("chat", {"top_logprobs": 21, "logprobs": True}, "top_logprobs", "is 21, expected 0 to 20"),
    ("chat", {"tools": [{"type": "function"}]}, "tools[0].function", "missing"),
    ("chat", {"response_format": {"type": "json_object"}}, "response_format", "not supported"),
    ("chat", {"response_format": {"type": "xml"}}, "response_format.type", "Invalid enum value 'xml'"),
    ("chat", {"response_format": "json"}, "response_format", "got `str`"),
    ("chat", {"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing"),
    (
        "chat",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
        "response_format.json_schema",
        "field `schema`",
    ),
    ("chat", {"response_format": {"type": "text", "strictness": 1}}, "response_format", "unknown field `strictness`"),
    ("chat", {"guided_regex": "a", "regex": "a"}, "regex", "guided_regex and regex are both set"),
    ("chat", {"guided_choice": ["a", 1]}, "guided_choice[1]", "got `int`"),
    ("chat", {"guided_grammar": "\n" * 1000}, "guided_grammar", "1001 lines, expected at most 1000"),
    ("chat", {"guided_regex": "a" * 140000}, "guided_regex", "140000 bytes, expected at most 131072"),
    ("chat", {"structured_outputs": {"structural_tag": "{}"}}, "structured_outputs", "unknown field `structural_tag`"),
    ("chat", {"repetition_penalty": 0}, "repetition_penalty", "is 0, expected 0.01 to 100"),
    ("chat", {"repetition_penalty": 1.1, "repeat_penalty": 1.2}, "repeat_penalty", "differ"),
    ("chat", {"min_p": 1.5}, "min_p", "is 1.5, expected 0 to 1"),
    ("chat", {"ignore_eos": 0}, "ignore_eos", "got `int`"),
    ("chat", {"min_tokens": -1}, "min_tokens", "is -1, expected 0 or more"),
    ("chat", {"min_tokens": 5}, "min_tokens", "is 5, expected 0 to 4, which is max_tokens"),
    ("chat", {"bad_words": [" "]}, "bad_words", "' ', expected words"),
    ("chat", {"bad_words": "x"}, "bad_words", "got `str`"),
    ("chat", {"bad_words": ["x"] * 129}, "bad_words", "129 words, expected at most 128"),
    ("chat", {"allowed_token_ids": [259]}, "allowed_token_ids", "token 259, expected 0 to 258"),
    ("chat", {"skip_special_tokens": False}, "skip_special_tokens", "not supported"),
    ("chat", {"guided_json": {"type": "object"}}, "guided_json", "not supported"),
    ("chat", {"stop_token_ids": [-5]}, "stop_token_ids", "token -5, expected 0 to 258"),
    ("chat", {"stream_options": {"continuous_usage_stats": True}}, "stream_options.continuous_usage_stats", "True"),
    ("chat", {"messages": [{"role": "user", "content": None}]}, "messages", "content is None, expected text"),
    ("chat", {"logit_bias": {"5": 101}}, "logit_bias", "token 5 is 101, expected -100 to 100"),
    ("chat", {"logit_bias": {"the": 1}}, "logit_bias", "key 'the', expected a token id"),
    ("chat", {"logit_bias": {"259": 1}}, "logit_bias", "token 259, expected 0 to 258"),
    ("chat", {"logit_bias": [[5, 1]]}, "logit_bias", "got `array`"),
    ("chat", {"presence_penalty": 2.5}, "presence_penalty", "is 2.5, expected -2 to 2"),
    ("chat", {"frequency_penalty": -3}, "frequency_penalty", "is -3, expected -2 to 2"),
    ("chat", {"messages": []}, "messages", "at least one"),
    ("chat", {"messages": "hello"}, "messages", "got `str`"),
    ("chat", {"messages": [{"content": "x"}]}, "messages", "role"),
    ("chat", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages", "expected text"),
    ("chat", {"goodspeed": {"mode": "warp"}}, "goodspeed.mode", "warp"),
    ("chat", {"goodspeed": {"mode": "fused"}}, "goodspeed.mode", "'target_only' now"),
    ("chat", {"goodspeed": {"speed": 9}}, "goodspeed", "speed"),
    ("chat", {"model": None}, "model", "got `null`"),
    ("completion", {"prompt": []}, "prompt", "empty"),
    ("completion", {"prompt": ""}, "prompt", "empty"),
    ("completion", {"prompt": [1, "a"]}, "prompt", "one kind"),
    ("completion", {"prompt": [10**6]}, "prompt", "vocabulary of 259"),
    ("completion", {"prompt": [-1]}, "prompt", "vocabulary of 259"),
    ("completion", {"prompt": ["a"] * 100, "n": 2}, "n", "1 to 1"),
    ("completion", {"prompt": ["a"] * 129}, "prompt", "at most 128"),
    ("completion", {"logprobs": 21}, "logprobs", "is 21, expected 0 to 20"),
    ("completion", {"echo": "yes"}, "echo", "got `str`"),
    ("completion", {"max_tokens": 0}, "max_tokens", "is 0, expected 1 or more"),
    ("chat", {"echo": True}, "echo", "not supported"),
    ("completion", {"best_of": 3}, "best_of", "not supported"),
    ("completion", {"suffix": "end"}, "suffix", "not supported"),
]


@contextlib.asynccontextmanager
async def site(
    tokenizer: Tokenizer, config: DrafterCoreConfig | None = None, kv_capacity: int = 2**20
) -> AsyncIterator[tuple[httpx.AsyncClient, DrafterServer]]:
    engine = ToyTarget(toy_info(tokenizer.fingerprint, kv_capacity=kv_capacity))
    async with (
        LiveVerifier(engine, fingerprint=tokenizer.fingerprint).running() as verifier,
        drafter_at([verifier], config) as drafter,
    ):
        app = make_app(ApiService(drafter, tokenizer, max_tokens=100, meet_s=1.0))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://drafter") as client:
            yield client, drafter


async def test_wrong_field_is_named(tokenizer: Tokenizer) -> None:
    async with site(tokenizer) as (client, drafter):
        for kind, fields, param, words in WRONG:
            response = await client.post(PATHS[kind], json={**(CHAT if kind == "chat" else COMPLETION), **fields})
            error = response.json()["error"]
            assert (response.status_code, error["param"]) == (400, param), error
            assert error["type"] == "invalid_request_error"
            with pytest.raises(AssertionError, match=words):
                raise AssertionError(error["message"])
            assert drafter.num_streams == 0


async def test_missing_field_is_named(tokenizer: Tokenizer) -> None:
    async with site(tokenizer) as (client, _):
        response = await client.post(PATHS["chat"], json={"model": "toy"})
        assert response.json()["error"]["param"] == "messages"
        assert "messages is missing" in response.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff\xfe", b"null", b'{"model": 1e999}'])
async def test_body_that_is_not_an_object_is_refused(tokenizer: Tokenizer, body: bytes) -> None:
    async with site(tokenizer) as (client, _):
        response = await client.post(PATHS["chat"], content=body)
        assert response.status_code == 400
        assert response.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("field", ["messages", "unknown", "metadata"])
async def test_deeply_nested_body_is_refused(tokenizer: Tokenizer, field: str) -> None:
    async with site(tokenizer) as (client, _):
        body = f'{{"model": "toy", "{field}": {"[" * 10**5}{"]" * 10**5}}}'
        assert (await client.post(PATHS["chat"], content=body)).status_code == 400


async def test_numbers_as_clients_of_other_servers_send_them(tokenizer: Tokenizer) -> None:
    """JavaScript's integral floats, numbers beyond the wire's, -1 for "no limit" (LM Studio), a byte-order mark."""
    async with site(tokenizer) as (client, _):
        plain = (await client.post(PATHS["completion"], json=COMPLETION)).json()["choices"]
        for fields in ({"max_tokens": 4.0}, {"top_k": 2**70}, {"top_k": -1.0}, {"logprobs": False}, {"seed": 5.0}):
            response = await client.post(PATHS["completion"], json={**COMPLETION, **fields})
            assert response.json()["choices"] == plain, fields
        marked = "\ufeff" + json.dumps(COMPLETION)
        assert (await client.post(PATHS["completion"], content=marked.encode())).json()["choices"] == plain
        response = await client.post(PATHS["chat"], json={**CHAT, "max_tokens": -1})
        assert response.json()["usage"]["completion_tokens"] == 100  # the server's default


async def test_huge_body_is_refused(tokenizer: Tokenizer) -> None:
    async with site(tokenizer) as (client, _):
        response = await client.post(PATHS["chat"], content=b" " * (MAX_BODY_BYTES + 1))
        assert response.status_code == 413


async def test_fields_without_effect_are_accepted(tokenizer: Tokenizer) -> None:
    harmless = {"user": "me", "store": False, "metadata": {}, "tools": [], "logit_bias": {}, "presence_penalty": 0.0}
    neutral = {"response_format": {"type": "text"}, "frequency_penalty": None, "top_logprobs": None, "seed": None}
    async with site(tokenizer) as (client, _):
        response = await client.post(PATHS["chat"], json={**CHAT, **harmless, **neutral})
        assert response.status_code == 200
        response = await client.post(PATHS["chat"], json={**CHAT, "model": "default"})
        assert response.json()["model"] == "toy"


OTHER_SERVERS = {
    "repetition_penalty": 1.0,
    "min_p": 0,
    "top_k": -1,
    "ignore_eos": False,
    "skip_special_tokens": True,
    "continuous_usage_stats": False,
    "stream_options": {"include_usage": True, "continuous_usage_stats": False},
    "guided_json": None,
    "stop_token_ids": [],
    "cache_prompt": True,
    "keep_alive": "5m",
    "field_of_tomorrow": None,
}


@pytest.mark.parametrize("kind", ["chat", "completion"])
async def test_fields_of_other_servers_at_their_neutral_values_are_accepted(tokenizer: Tokenizer, kind: str) -> None:
    """garak#748, vllm#10463."""
    body = CHAT if kind == "chat" else COMPLETION
    async with site(tokenizer) as (client, _):
        plain = await client.post(PATHS[kind], json=body)
        response = await client.post(PATHS[kind], json={**body, **OTHER_SERVERS})
        assert response.status_code == 200
        assert response.json()["choices"] == plain.json()["choices"]


async def test_clients_recognise_a_prompt_beyond_the_context(tokenizer: Tokenizer) -> None:
    """By these words LiteLLM and LangChain tell it from other errors."""
    async with site(tokenizer) as (client, _):
        for fields in ({"prompt": "x" * 5000}, {"max_tokens": 4096}):
            error = (await client.post(PATHS["completion"], json={**COMPLETION, **fields})).json()["error"]
            assert error["code"] == "context_length_exceeded"
            assert "This model's maximum context length is 4096 tokens" in error["message"]
            assert "prompt is too long" in error["message"]


async def test_wrong_path_and_method_have_openais_form(tokenizer: Tokenizer) -> None:
    async with site(tokenizer) as (client, _):
        for response, status in ((await client.get("/v2/models"), 404), (await client.get(PATHS["chat"]), 405)):
            assert response.status_code == status
            assert set(response.json()["error"]) == {"message", "type", "param", "code"}


async def test_full_verifier_is_unavailable(tokenizer: Tokenizer) -> None:
    async with site(tokenizer, DrafterCoreConfig(retry=RetryConfig(give_up_s=0.2)), kv_capacity=20) as (
        client,
        drafter,
    ):
        response = await client.post(PATHS["completion"], json={**COMPLETION, "max_tokens": 50})
        assert response.status_code == 503
        assert "no room" in response.json()["error"]["message"]
        assert drafter.num_streams == 0


async def test_health_and_metrics_are_shown(tokenizer: Tokenizer) -> None:
    async with site(tokenizer) as (client, _):
        await client.post(PATHS["chat"], json={**CHAT, "max_tokens": 40})
        assert (await client.get("/health")).json() == {"status": "ok", "drafter": "drafter", "verifier": "verifier"}
        metrics = (await client.get("/metrics")).text
        values = dict(line.split() for line in metrics.splitlines() if not line.startswith("#") and "{" not in line)
        assert float(values["goodspeed_drafter_committed_tokens_total"]) == 40
        assert 0 < float(values["goodspeed_drafter_acceptance_rate"]) <= 1
        assert 0 < float(values["goodspeed_drafter_rounds_total"]) < 40
        assert float(values["goodspeed_drafter_open_streams"]) == 0
        assert float(values["goodspeed_drafter_bytes_per_committed_token"]) > 1
        for name in (
            "proposed_tokens_total",
            "accepted_tokens_total",
            "grant",
            "sent_bytes_total",
            "rtt_seconds_count",
        ):
            assert f"goodspeed_drafter_{name}" in values


async def test_only_named_metrics_are_read(tokenizer: Tokenizer) -> None:
    names = ["goodspeed_drafter_grant", "goodspeed_drafter_verifier_up"]
    async with site(tokenizer) as (client, _):
        metrics = (await client.get("/metrics", params={"name[]": names})).text
    assert {line.split("{")[0].split()[0] for line in metrics.splitlines() if not line.startswith("#")} == set(names)


async def test_drafter_without_a_verifier_reports_it(tokenizer: Tokenizer) -> None:
    async with contextlib.AsyncExitStack() as running:
        verifier = await running.enter_async_context(
            LiveVerifier(ToyTarget(toy_info(tokenizer.fingerprint)), fingerprint=tokenizer.fingerprint).running()
        )
        config = DrafterCoreConfig(retry=RetryConfig(give_up_s=0.2))
        async with drafter_at([verifier], config) as drafter:
            await running.aclose()
            await until(lambda: not drafter.is_up)
            app = make_app(ApiService(drafter, tokenizer, max_tokens=100, meet_s=1.0))
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://drafter") as client:
                health = await client.get("/health")
                assert (health.status_code, health.json()["status"]) == (503, "no verifier")
                response = await client.post(PATHS["chat"], content=json.dumps(CHAT))
                assert response.status_code == 503
                assert "no verifier could be reached for 0.2 s" in response.json()["error"]["message"]
                assert response.headers["retry-after"] == "2"


@pytest.mark.parametrize("path", ["/v1/models", PATHS["chat"], PATHS["completion"]])
async def test_drafter_that_never_met_a_verifier_says_so_at_once(tokenizer: Tokenizer, path: str) -> None:
    async def refuse() -> Connection:
        raise LinkLostError("connection refused")

    hello = Hello(PROTOCOL_VERSION, "drafter", tokenizer.fingerprint)
    core = DrafterCore(DrafterCoreConfig(num_verifiers=2), np.random.default_rng(0))
    known = [VerifierEndpoint(f"v{i}", refuse) for i in range(2)]
    drafter = DrafterServer(core, InlineDraftRunner(NullDraft()), hello, known)
    running = asyncio.create_task(drafter.run())
    app = make_app(ApiService(drafter, tokenizer, max_tokens=100, meet_s=3600.0))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://drafter") as client:
        body = CHAT if "chat" in path else COMPLETION
        response = await (client.get(path) if path == "/v1/models" else client.post(path, json=body))
        assert response.status_code == 503
        assert response.headers["retry-after"] == "2"
        assert "connection refused" in response.json()["error"]["message"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_prompt_that_cannot_fit_by_its_bytes_is_not_encoded(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """vllm#24910: encoding 10 MB takes 22 s."""
    async with site(tokenizer) as (client, _):
        monkeypatch.setattr(Tokenizer, "encode", None)  # calling it would be an internal error
        for kind, fields in (
            ("completion", {"prompt": "x" * 10**7}),
            ("completion", {"prompt": ["x", "x" * 10**7]}),
            ("chat", {"messages": [{"role": "user", "content": "x" * 10**7}]}),
        ):
            response = await client.post(PATHS[kind], json={**(CHAT if kind == "chat" else COMPLETION), **fields})
            assert response.status_code == 400
            assert response.json()["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    "body", [gzip.compress(json.dumps(CHAT).encode()), gzip.compress(json.dumps(CHAT).encode(), 0)]
)
async def test_gzip_bodies_are_read(tokenizer: Tokenizer, body: bytes) -> None:
    async with site(tokenizer) as (client, _):
        response = await client.post(PATHS["chat"], content=body, headers={"content-encoding": "gzip"})
        assert response.json()["choices"] == (await client.post(PATHS["chat"], json=CHAT)).json()["choices"]


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("br", b"x", 415),
        ("gzip, gzip", b"x", 415),
        ("gzip", b"no gzip", 400),
        ("gzip", gzip.compress(json.dumps(CHAT).encode())[:-4], 400),
        ("GZip", gzip.compress(b" " * (MAX_BODY_BYTES + 1)), 413),
    ],
)
async def test_other_encodings_are_refused(tokenizer: Tokenizer, encoding: str, body: bytes, status: int) -> None:
    async with site(tokenizer) as (client, _):
        response = await client.post(PATHS["chat"], content=body, headers={"content-encoding": encoding})
        assert response.status_code == status
        assert response.json()["error"]["type"] == "invalid_request_error"

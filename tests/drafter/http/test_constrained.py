"""Constrained answers through a live drafter, whose verifier has a toy target."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from typing import Any, Literal

import httpx
import jsonschema
import openai
import pydantic
import pytest
from tests.drafter.live import LiveVerifier, drafter_at

from goodspeed.decoding.constraint import Constraint, ConstraintKind
from goodspeed.decoding.mode import Mode
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.drafter.draft_runner import InlineDraftRunner
from goodspeed.drafter.http.app import make_app
from goodspeed.drafter.http.service import ApiService
from goodspeed.drafter.http.serving import WebServer, listen
from goodspeed.drafter.server import DrafterServer
from goodspeed.engine.grammar.compiler import GrammarCompiler
from goodspeed.engine.grammar.constrained_engine import ConstrainedDraftEngine
from goodspeed.engine.reference import ReferenceRequest, generate
from goodspeed.engine.toy_draft import ToyDraft
from goodspeed.engine.toy_model import END_TOKEN, ToyModel
from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.errors import RequestError
from goodspeed.models.tokenizer import Tokenizer

MESSAGES: list[Any] = [{"role": "user", "content": "Who?"}]
CHAT = {"model": "toy", "messages": MESSAGES, "temperature": 0.8, "seed": 5, "max_tokens": 100}
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 5}, "kind": {"enum": ["yes", "yesterday", 3]}},
    "required": ["name", "kind"],
    "additionalProperties": False,
}
CHOICES = ["a.c", "a b\n", "Größe {1}"]
FORMATS: list[dict[str, Any]] = [
    {"response_format": {"type": "json_schema", "json_schema": {"name": "who", "schema": SCHEMA, "strict": True}}},
    {"response_format": {"type": "json_object", "schema": SCHEMA}},
    {"structured_outputs": {"json": SCHEMA}},
    {"structured_outputs": {"json": json.dumps(SCHEMA), "disable_any_whitespace": None}},
    {"structured_outputs": {"json": SCHEMA, "disable_any_whitespace": True}},
    {"guided_json": SCHEMA},
    {"guided_json": json.dumps(SCHEMA)},
    {"json_schema": SCHEMA},
]
PATTERN = "(yes|no), [a-c]{1,8}!"
PATTERNS: list[dict[str, Any]] = [
    {"guided_regex": PATTERN},
    {"regex": PATTERN},
    {"structured_outputs": {"regex": PATTERN}},
    {"structured_outputs": {"grammar": 'start: ("yes" | "no") ", " /[a-c]{1,8}/ "!"'}},
    {"guided_grammar": 'root ::= ("yes" | "no") ", " letter letter? letter? "!"\nletter ::= [a-c]'},
    {"grammar": 'root ::= ("yes" | "no") ", " [a-c] "!"'},
    {"ebnf": 'root ::= ("yes" | "no") ", " [a-c] "!"'},
]


@pytest.fixture(scope="module")
def grammars(tokenizer: Tokenizer) -> GrammarCompiler:
    return GrammarCompiler(tokenizer.to_json(), tokenizer.vocab_size, (END_TOKEN,))


@contextlib.asynccontextmanager
async def drafter_with(
    tokenizer: Tokenizer, grammars: GrammarCompiler | None, num_verifiers: int = 1
) -> AsyncIterator[tuple[DrafterServer, list[LiveVerifier]]]:
    async with contextlib.AsyncExitStack() as stack:
        engines = [ToyTarget(toy_info(tokenizer.fingerprint), grammars=grammars) for _ in range(num_verifiers)]
        verifiers = [
            await stack.enter_async_context(LiveVerifier(engine, fingerprint=tokenizer.fingerprint).running())
            for engine in engines
        ]
        draft = ConstrainedDraftEngine(ToyDraft(0.7), grammars) if grammars else ToyDraft(0.7)
        drafter = await stack.enter_async_context(drafter_at(verifiers, runner=InlineDraftRunner(draft)))
        yield drafter, verifiers


@contextlib.asynccontextmanager
async def api(
    tokenizer: Tokenizer, grammars: GrammarCompiler | None, own: GrammarCompiler | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """`grammars`: those of the verifier, and of the drafter if it has none of its `own`."""
    async with drafter_with(tokenizer, grammars) as (drafter, _):
        app = make_app(ApiService(drafter, tokenizer, max_tokens=100, meet_s=1.0, grammars=own or grammars))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://drafter") as client:
            yield client


async def content(client: httpx.AsyncClient, fields: dict[str, Any]) -> str:
    response = await client.post("/v1/chat/completions", json={**CHAT, **fields})
    assert response.status_code == 200, response.text
    (choice,) = response.json()["choices"]
    assert choice["finish_reason"] == "stop"
    return str(choice["message"]["content"])


def target_only(
    tokenizer: Tokenizer, grammars: GrammarCompiler, constraint: Constraint, sampling: Sampling, max_tokens: int = 100
) -> tuple[int, ...]:
    prompt = tuple(tokenizer.encode_chat(MESSAGES))
    sampling = Sampling(sampling.temperature, seed=sampling.seed, rule=sampling.rule, constraint=constraint)
    return generate(ToyModel(), ReferenceRequest(prompt, max_tokens, sampling, (END_TOKEN,), grammars))


async def test_answers_satisfy_the_schema_in_every_field_that_carries_one(
    tokenizer: Tokenizer, grammars: GrammarCompiler
) -> None:
    async with api(tokenizer, grammars) as client:
        for fields in FORMATS:
            jsonschema.validate(json.loads(await content(client, fields)), SCHEMA)


async def test_answers_match_in_every_field_that_carries_a_pattern(
    tokenizer: Tokenizer, grammars: GrammarCompiler
) -> None:
    async with api(tokenizer, grammars) as client:
        for fields in PATTERNS:
            assert re.fullmatch(PATTERN, await content(client, fields)), fields
        for fields in ({"guided_choice": CHOICES}, {"structured_outputs": {"choice": CHOICES}}):
            assert await content(client, fields) in CHOICES


async def test_the_text_is_the_constrained_targets_own(tokenizer: Tokenizer, grammars: GrammarCompiler) -> None:
    constraint = Constraint(ConstraintKind.JSON_SCHEMA, json.dumps(SCHEMA))
    expected = target_only(tokenizer, grammars, constraint, Sampling(0.8, seed=5, rule=Rule.COUPLED))
    async with api(tokenizer, grammars) as client:
        assert await content(client, {"guided_json": SCHEMA}) == tokenizer.decode(expected)
        assert await content(client, {"guided_json": SCHEMA, "goodspeed": {"mode": "target_only"}}) == tokenizer.decode(
            expected
        )


async def test_a_cut_off_answer_ends_with_length(tokenizer: Tokenizer, grammars: GrammarCompiler) -> None:
    async with api(tokenizer, grammars) as client:
        body = {**CHAT, "max_tokens": 4, "response_format": {"type": "json_object"}}
        (choice,) = (await client.post("/v1/chat/completions", json=body)).json()["choices"]
        assert choice["finish_reason"] == "length"
        assert choice["message"]["content"].startswith("{")


async def test_every_choice_and_every_chunk_is_constrained(tokenizer: Tokenizer, grammars: GrammarCompiler) -> None:
    async with api(tokenizer, grammars) as client:
        body = {**CHAT, "n": 3, "stream": True, "guided_json": SCHEMA}
        texts = ["", "", ""]
        async with client.stream("POST", "/v1/chat/completions", json=body) as response:
            async for line in response.aiter_lines():
                if line.startswith("data: {"):
                    for choice in json.loads(line[6:])["choices"]:
                        texts[choice["index"]] += choice["delta"].get("content") or ""
        for text in texts:
            jsonschema.validate(json.loads(text), SCHEMA)
        assert len(set(texts)) > 1


async def test_completions_are_constrained_too(tokenizer: Tokenizer, grammars: GrammarCompiler) -> None:
    async with api(tokenizer, grammars) as client:
        body = {"model": "toy", "prompt": "Who? ", "max_tokens": 60, "guided_regex": PATTERN}
        (choice,) = (await client.post("/v1/completions", json=body)).json()["choices"]
        assert re.fullmatch(PATTERN, choice["text"])


WRONG: list[tuple[dict[str, Any], str, str]] = [
    (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"properties": {"a": {"type": "int"}}}}}},
        "response_format.json_schema.schema.properties.a",
        "Invalid type: int",
    ),
    ({"guided_json": {"type": "array", "uniqueItems": True}}, "guided_json", "uniqueItems"),
    ({"guided_json": "{"}, "guided_json", "not JSON"),
    ({"guided_regex": "(?=a)"}, "guided_regex", "look-around"),
    ({"structured_outputs": {"grammar": "start: other"}}, "structured_outputs.grammar", "other"),
    ({"response_format": {"type": "json_object"}, "ignore_eos": True}, "ignore_eos", "without an end token"),
]


async def test_a_wrong_constraint_is_refused_with_its_place_before_anything_is_sent(
    tokenizer: Tokenizer, grammars: GrammarCompiler
) -> None:
    async with api(tokenizer, None, own=grammars) as client:  # the verifier would refuse all
        for fields, param, words in WRONG:
            response = await client.post("/v1/chat/completions", json={**CHAT, **fields})
            error = response.json()["error"]
            assert (response.status_code, error["param"]) == (400, param), error
            assert words in error["message"]


async def test_a_drafter_without_grammars_serves_plain_requests_and_refuses_constrained_ones(
    tokenizer: Tokenizer,
) -> None:
    async with api(tokenizer, None) as client:
        body = {**CHAT, "response_format": {"type": "text"}, "guided_choice": [], "guided_regex": "", "grammar": ""}
        assert (await client.post("/v1/chat/completions", json=body)).status_code == 200
        response = await client.post("/v1/chat/completions", json={**CHAT, "guided_json": SCHEMA})
        assert response.status_code == 400
        assert response.json()["error"]["param"] == "guided_json"
        assert "not supported" in response.json()["error"]["message"]


async def test_a_verifier_without_grammars_gets_no_constrained_stream(
    tokenizer: Tokenizer, grammars: GrammarCompiler
) -> None:
    async with api(tokenizer, None, own=grammars) as client:
        response = await client.post("/v1/chat/completions", json={**CHAT, "guided_json": SCHEMA})
        assert response.status_code == 400
        assert "not supported by the verifier" in response.json()["error"]["message"]


async def read(drafter: DrafterServer, request: GenerationRequest) -> list[int]:
    with drafter.generate(request) as answer:
        return [token async for committed in answer for token in committed.tokens]


def constrained(
    tokenizer: Tokenizer, constraint: Constraint, mode: Mode = Mode.DISTRIBUTED, max_tokens: int = 100
) -> GenerationRequest:
    sampling = Sampling(0.8, seed=5, rule=Rule.COUPLED, constraint=constraint)
    return GenerationRequest(tuple(tokenizer.encode_chat(MESSAGES)), max_tokens, sampling, (END_TOKEN,), mode)


async def test_a_verifier_refuses_a_wrong_constraint_and_serves_the_others(
    tokenizer: Tokenizer, grammars: GrammarCompiler
) -> None:
    """A peer may send what no drafter of ours would."""
    good, bad = Constraint(ConstraintKind.REGEX, PATTERN), Constraint(ConstraintKind.REGEX, "(")
    async with drafter_with(tokenizer, grammars) as (drafter, (verifier,)):
        answer = drafter.generate(constrained(tokenizer, good))
        with pytest.raises(RequestError, match="regex is wrong"):
            await read(drafter, constrained(tokenizer, bad))
        with answer:
            text = tokenizer.decode([token async for committed in answer for token in committed.tokens])
        assert re.fullmatch(PATTERN, text)
        await verifier.drained()


async def test_a_grammar_that_becomes_too_complex_ends_its_stream_alone(
    tokenizer: Tokenizer, grammars: GrammarCompiler
) -> None:
    good = Constraint(ConstraintKind.REGEX, PATTERN)
    alternatives = " | ".join(f'"{i}"' for i in range(10_001))
    complex_ = Constraint(ConstraintKind.GRAMMAR, f'start: "the start of the answer" end\nend: {alternatives}')
    async with drafter_with(tokenizer, grammars) as (drafter, (verifier,)):
        other = drafter.generate(constrained(tokenizer, good))
        with pytest.raises(RequestError, match="10002 items"):
            await read(drafter, constrained(tokenizer, complex_, max_tokens=2000))
        with other:
            text = tokenizer.decode([token async for committed in other for token in committed.tokens])
        assert re.fullmatch(PATTERN, text)
        await verifier.drained()


@pytest.mark.parametrize("mode", list(Mode))
async def test_another_verifier_continues_a_constrained_answer(
    tokenizer: Tokenizer, grammars: GrammarCompiler, mode: Mode
) -> None:
    schema = {"type": "object", "properties": {"text": {"type": "string", "minLength": 60, "maxLength": 80}}}
    constraint = Constraint(ConstraintKind.JSON_SCHEMA, json.dumps({**schema, "required": ["text"]}))
    expected = target_only(tokenizer, grammars, constraint, Sampling(0.8, seed=5, rule=Rule.COUPLED), 300)
    async with drafter_with(tokenizer, grammars, num_verifiers=2) as (drafter, (first, _)):
        with drafter.generate(constrained(tokenizer, constraint, mode, 300)) as answer:
            tokens: list[int] = []
            async for committed in answer:
                tokens += committed.tokens
                if len(tokens) > 20:
                    await first.server.close()
        assert tuple(tokens) == expected


class Person(pydantic.BaseModel):
    name: str = pydantic.Field(max_length=8)
    kind: Literal["engineer", "poet"]
    age: int | None = pydantic.Field(ge=0, le=120)


@contextlib.asynccontextmanager
async def openai_client(tokenizer: Tokenizer, grammars: GrammarCompiler) -> AsyncIterator[openai.AsyncOpenAI]:
    async with drafter_with(tokenizer, grammars) as (drafter, _):
        app = make_app(ApiService(drafter, tokenizer, max_tokens=100, meet_s=1.0, grammars=grammars))
        web = WebServer(app, listen("127.0.0.1", 0), grace_s=1.0)
        running = asyncio.create_task(web.run())
        await web.started()
        url = f"http://127.0.0.1:{web.port}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            yield client
        web.stop()
        await running


async def test_openais_client_parses_a_structured_answer(tokenizer: Tokenizer, grammars: GrammarCompiler) -> None:
    async with openai_client(tokenizer, grammars) as client:
        parsed = await client.chat.completions.parse(
            model="toy", messages=MESSAGES, response_format=Person, temperature=1.0, seed=3, max_tokens=100
        )
        person = parsed.choices[0].message.parsed
        assert isinstance(person, Person)
        async with client.chat.completions.stream(
            model="toy", messages=MESSAGES, response_format=Person, temperature=1.0, seed=3, max_tokens=100
        ) as stream:
            assert (await stream.get_final_completion()).choices[0].message.parsed == person

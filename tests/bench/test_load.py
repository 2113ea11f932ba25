"""The load generator against a small server of another make."""

import asyncio
import json
import math
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count, pairwise
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from goodspeed.bench.answer import LoadAnswer
from goodspeed.bench.comparison import Arm, ArmRun, BenchClient, ComparisonPlan, compare
from goodspeed.bench.endpoint import OpenAIEndpoint, RequestSettings
from goodspeed.bench.load import LoadShape, arrivals, run_load
from goodspeed.bench.wire_traffic import DrafterTraffic, traffic
from goodspeed.errors import ConfigError, GoodSpeedError, LinkLostError, ProtocolError, RequestError
from goodspeed.prompts.prompts import ChatMessage, Prompt


@dataclass
class _Server:
    """Repeats the question, a word a chunk."""

    bodies: list[dict[str, Any]] = field(default_factory=list)
    num_running: int = 0
    most_running: int = 0

    def app(self) -> Starlette:
        return Starlette(
            routes=[Route("/v1/models", self._models), Route("/v1/chat/completions", self._chat, methods=["POST"])]
        )

    async def _models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": "parrot"}]})

    async def _chat(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        question = body["messages"][-1]["content"]
        if question == "refuse":
            return JSONResponse({"error": {"message": "no parrots today"}}, status_code=429)
        return StreamingResponse(self._stream(question), media_type="text/event-stream")

    async def _stream(self, question: str) -> AsyncIterator[bytes]:
        self.num_running += 1
        self.most_running = max(self.most_running, self.num_running)
        try:
            yield _event({"choices": [{"index": 0, "delta": {"role": "assistant"}, "finish_reason": None}]})
            for word in question.split():
                await asyncio.sleep(0.01)
                if word == "garbage":
                    yield b"data: {nonsense\n\n"
                if word == "fail":
                    yield _event({"error": {"message": "the parrot flew away"}})
                    return
                yield _event({"choices": [{"index": 0, "delta": {"content": word + " "}, "finish_reason": None}]})
            if "stop" in question:
                return
            yield _event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
            yield _event({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 7, "total_tokens": 8}})
            yield b"data: [DONE]\n\n"
        finally:
            self.num_running -= 1


def _event(fields: object) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


@asynccontextmanager
async def _serving(server: _Server) -> AsyncIterator[OpenAIEndpoint]:
    running = _Uvicorn(uvicorn.Config(server.app(), port=0, log_level="error", lifespan="off"))
    task = asyncio.create_task(running.serve())
    await running.is_up.wait()
    port = running.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(trust_env=False) as http:
        yield OpenAIEndpoint(http, f"http://127.0.0.1:{port}/v1")
    running.should_exit = True
    await task


class _Uvicorn(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _prompt(text: str) -> Prompt:
    return Prompt((ChatMessage("user", text),))


class _Unobserved:
    """Of a comparison's progress nothing is kept."""

    def on_phase(self, arm: str, repetition: int) -> None: ...

    def on_text(self, client: str, text: str) -> None: ...

    def on_answer(self, client: str, answer: LoadAnswer) -> None: ...


def _compare(server: _Server, plan: ComparisonPlan, *prompts: str) -> list[ArmRun]:
    """One arm whose clients have these prompts, each for all of its requests."""

    async def main() -> list[ArmRun]:
        clients = [BenchClient(text.split()[0], (_prompt(text),) * plan.num_prompts) for text in prompts]
        async with _serving(server) as endpoint:
            arm = Arm("parrot", (endpoint.url,) * len(clients), "distributed")
            return await compare([arm], clients, plan, _Unobserved())

    return asyncio.run(main())


def test_a_client_that_has_its_answers_goes_on_until_the_last_one_has() -> None:
    server = _Server()
    plan = ComparisonPlan(RequestSettings(8), LoadShape(), repetitions=1, requests=1, warm_up=0)
    (run,) = _compare(server, plan, "ann is quick", "bob " + "is slow " * 20)
    asked = [body["messages"][-1]["content"].split()[0] for body in server.bodies]
    assert asked.count("bob") == 1
    assert asked.count("ann") > 3, "the verifier serves two clients until bob has his answer"
    assert [len(answers) for answers in run.answers] == [1, 1]
    assert run.goodputs() == pytest.approx([7 / answers[0].end_s for answers in run.answers])
    assert server.num_running == 0, "what did not count is cancelled"


def test_an_open_loop_ends_with_its_arrivals() -> None:
    server = _Server()
    plan = ComparisonPlan(RequestSettings(8), LoadShape(rate=100.0), repetitions=1, requests=2, warm_up=0)
    _compare(server, plan, "ann is quick", "bob " + "is slow " * 20)
    assert len(server.bodies) == 4


def test_prompts_are_read_in_target_only_mode_before_anything_is_measured() -> None:
    server = _Server()
    plan = ComparisonPlan(RequestSettings(8), LoadShape(), repetitions=2, requests=1, warm_up=1, reads_prompts=True)
    _compare(server, plan, "ann")
    reading, others = server.bodies[: plan.num_prompts], server.bodies[plan.num_prompts :]
    assert {(body["max_tokens"], body["goodspeed"]["mode"]) for body in reading} == {(1, "target_only")}
    assert all(body["max_tokens"] > 1 for body in others)


async def _ask(
    endpoint: OpenAIEndpoint, text: str, settings: RequestSettings | None = None
) -> tuple[LoadAnswer, list[str]]:
    pieces: list[str] = []
    ticks = count()
    settings = settings or RequestSettings(max_tokens=9)
    return await endpoint.generate(_prompt(text), settings, lambda: float(next(ticks)), pieces.append), pieces


def test_an_answer_has_its_text_times_and_tokens() -> None:
    async def run() -> None:
        async with _serving(_Server()) as endpoint:
            answer, pieces = await _ask(endpoint, "one two three")
        assert answer.text == "one two three "
        assert answer.finish_reason == "stop"
        assert answer.num_tokens == 7
        assert pieces == ["one ", "two ", "three "]
        assert len(answer.chunk_s) == 3
        assert answer.chunk_characters == (4, 4, 6)
        assert answer.due_s < answer.chunk_s[0]
        assert all(earlier <= later for earlier, later in pairwise(answer.chunk_s))
        assert answer.speculation is None

    asyncio.run(run())


def test_the_request_body_has_the_settings() -> None:
    async def run() -> None:
        server = _Server()
        async with _serving(server) as endpoint:
            await _ask(endpoint, "a", RequestSettings(max_tokens=5, temperature=0.7, seed=3))
            await _ask(endpoint, "b", RequestSettings(max_tokens=5, mode="target_only"))
        first, second = server.bodies
        assert first["model"] == "parrot"
        assert (first["max_tokens"], first["temperature"], first["seed"]) == (5, 0.7, 3)
        assert "goodspeed" not in first, "another's endpoint may refuse unknown fields"
        assert second["goodspeed"] == {"mode": "target_only", "rule": "coupled"}

    asyncio.run(run())


@pytest.mark.parametrize(
    ("question", "error", "complaint"),
    [
        ("refuse", RequestError, "429.*no parrots today"),
        ("one fail", RequestError, "the parrot flew away"),
        ("one garbage", ProtocolError, "is not a completion chunk"),
        ("just stop", LinkLostError, "connection ended after 2 pieces"),
    ],
)
def test_a_failed_answer_says_why(question: str, error: type[GoodSpeedError], complaint: str) -> None:
    async def run() -> None:
        async with _serving(_Server()) as endpoint:
            with pytest.raises(error, match=complaint):
                await _ask(endpoint, question)

    asyncio.run(run())


def test_an_endpoint_that_is_not_there_is_named() -> None:
    async def run() -> None:
        async with httpx.AsyncClient(trust_env=False) as http:
            with pytest.raises(LinkLostError, match=r"http://127\.0\.0\.1:9: ConnectError"):
                await OpenAIEndpoint(http, "http://127.0.0.1:9").model()

    asyncio.run(run())


def test_an_endpoint_without_metrics_has_nan_counters() -> None:
    async def run() -> None:
        async with _serving(_Server()) as endpoint:
            assert await endpoint.metrics() == ""

    asyncio.run(run())


def test_a_drafters_counters_are_read_from_its_metrics() -> None:
    text = (
        "# HELP goodspeed_drafter_sent_bytes_total bytes\ngoodspeed_drafter_sent_bytes_total 5.0\n"
        "goodspeed_drafter_received_bytes_total 7.0\ngoodspeed_drafter_committed_tokens_total 3.0\nother 1.0\n"
    )
    assert traffic(text) == DrafterTraffic(wire_bytes=12.0, num_committed=3.0)
    assert traffic(text).since(DrafterTraffic(2.0, 1.0)) == DrafterTraffic(10.0, 2.0)
    assert math.isnan(traffic("other 1.0\n").wire_bytes)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_closed_loop_keeps_so_many_in_flight(concurrency: int) -> None:
    async def run() -> None:
        server = _Server()
        async with _serving(server) as endpoint:

            async def generate(prompt: Prompt) -> LoadAnswer:
                return (await _ask(endpoint, prompt.messages[0].content))[0]

            texts = [f"question {number}" for number in range(7)]
            answers = await run_load(generate, [_prompt(text) for text in texts], LoadShape(concurrency))
        assert [answer.text for answer in answers] == [text + " " for text in texts]
        assert server.most_running == concurrency

    asyncio.run(run())


def test_an_open_loop_does_not_wait_for_answers() -> None:
    async def run() -> None:
        server = _Server()
        async with _serving(server) as endpoint:

            async def generate(prompt: Prompt) -> LoadAnswer:
                return (await _ask(endpoint, prompt.messages[0].content))[0]

            texts = ["w " * 30] * 6
            answers = await run_load(generate, [_prompt(text) for text in texts], LoadShape(rate=1000.0))
        assert len(answers) == 6
        assert server.most_running == 6

    asyncio.run(run())


def test_the_first_failure_cancels_the_rest() -> None:
    async def run() -> None:
        server = _Server()
        async with _serving(server) as endpoint:

            async def generate(prompt: Prompt) -> LoadAnswer:
                return (await _ask(endpoint, prompt.messages[0].content))[0]

            prompts = [_prompt("w " * 1000), _prompt("one fail")]
            with pytest.raises(RequestError, match="flew away"):
                await run_load(generate, prompts, LoadShape(concurrency=2))

    asyncio.run(run())


def test_arrivals_are_a_poisson_process() -> None:
    times = arrivals(rate=10.0, num_requests=4000, seed=1)
    gaps = [later - earlier for earlier, later in pairwise([0.0, *times])]
    mean = sum(gaps) / len(gaps)
    assert mean == pytest.approx(0.1, rel=0.05), "3 standard errors"
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    assert variance == pytest.approx(mean**2, rel=0.15)
    assert times == arrivals(rate=10.0, num_requests=4000, seed=1)


@pytest.mark.parametrize(("concurrency", "rate"), [(0, 0.0), (1, -1.0)])
def test_a_senseless_shape_is_refused(concurrency: int, rate: float) -> None:
    with pytest.raises(ConfigError):
        LoadShape(concurrency, rate)

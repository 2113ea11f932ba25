"""A client for one OpenAI endpoint."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import httpx

from goodspeed.bench.answer import Chunk, EventStream, LoadAnswer, Speculation, Usage
from goodspeed.errors import ErrorCode, LinkLostError, ProtocolError, RequestError
from goodspeed.prompts.prompts import Prompt

TIMEOUT = httpx.Timeout(120.0, connect=10.0)
"""Seconds without data after which a request fails."""

LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=2.0)
"""No limit on connections. An idle one is dropped after 2 s, before the server closes it."""

Clock = Callable[[], float]
"""Seconds since the start of the run."""

OnText = Callable[[str], None]
"""Called with every piece of text as it arrives."""


@dataclass(frozen=True, slots=True)
class RequestSettings:
    """The parameters that all requests of a run have in common."""

    max_tokens: int
    temperature: float = 0.0
    seed: int = 0
    mode: str = ""
    """"distributed" or "target_only"; empty for an endpoint that is not a GoodSpeed drafter."""
    rule: str = "coupled"
    """The acceptance rule at temperature > 0: "coupled" or "rejection"."""


def http_client() -> httpx.AsyncClient:
    """The HTTP client that all endpoints share."""
    return httpx.AsyncClient(timeout=TIMEOUT, limits=LIMITS, trust_env=False)


class OpenAIEndpoint:
    """Sends requests to one server, for example http://127.0.0.1:8000."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self._http = http
        self.url = url.rstrip("/").removesuffix("/v1")
        self._model = ""

    async def model(self) -> str:
        """The first model that the server lists, requested once. Raises LinkLostError, RequestError, ProtocolError."""
        if not self._model:
            self._model = await self._first_model()
        return self._model

    async def metrics(self) -> str:
        """The Prometheus metrics of the server; empty if it has none. Raises LinkLostError."""
        with self._errors_named():
            response = await self._http.get(f"{self.url}/metrics")
        return response.text if response.is_success else ""

    async def generate(self, prompt: Prompt, settings: RequestSettings, clock: Clock, on_text: OnText) -> LoadAnswer:
        """Stream one answer; `on_text` receives each piece. Raises LinkLostError, RequestError, ProtocolError."""
        body = _body(await self.model(), prompt, settings)
        due_s = clock()
        reader = _AnswerReader(clock, on_text)
        with self._errors_named():
            async with self._http.stream("POST", f"{self.url}/v1/chat/completions", json=body) as response:
                if not response.is_success:
                    await response.aread()
                    self._check(response)
                async for data in response.aiter_raw():
                    reader.feed(data)
        return reader.answer(due_s, self.url)

    async def _first_model(self) -> str:
        with self._errors_named():
            response = await self._http.get(f"{self.url}/v1/models")
        self._check(response)
        match response.json():
            case {"data": [{"id": str(model)}, *_]}:
                return model
        raise ProtocolError(ErrorCode.MALFORMED, f"{self.url}/v1/models lists no model: {response.text[:200]}")

    def _check(self, response: httpx.Response) -> None:
        if not response.is_success:
            raise RequestError(f"{self.url} returned status {response.status_code}: {response.text[:500]}")

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise LinkLostError(f"{self.url}: {type(error).__name__} {error}") from error


async def is_drafter(urls: Sequence[str]) -> bool:
    """Whether all endpoints are GoodSpeed drafters, which accept RequestSettings.mode. Raises LinkLostError."""
    async with http_client() as http:
        return all(["goodspeed_drafter_" in await OpenAIEndpoint(http, url).metrics() for url in urls])


class _AnswerReader:
    """Collects the chunks of one answer."""

    def __init__(self, clock: Clock, on_text: OnText) -> None:
        self._clock = clock
        self._on_text = on_text
        self._events = EventStream()
        self._pieces: list[str] = []
        self._chunk_s: list[float] = []
        self._finish_reason = ""
        self._usage: Usage | None = None
        self._speculation: Speculation | None = None

    def feed(self, data: bytes) -> None:
        now = self._clock()
        for chunk in self._events.feed(data):
            self._take(chunk, now)

    def _take(self, chunk: Chunk, now: float) -> None:
        if chunk.error is not None:
            raise RequestError(f"the answer was aborted: {chunk.error.get('message', chunk.error)}")
        self._usage = chunk.usage or self._usage
        self._speculation = chunk.goodspeed or self._speculation
        for choice in chunk.choices:
            self._finish_reason = choice.finish_reason or self._finish_reason
            if choice.delta.content:
                self._pieces.append(choice.delta.content)
                self._chunk_s.append(now)
                self._on_text(choice.delta.content)

    def answer(self, due_s: float, url: str) -> LoadAnswer:
        if not self._finish_reason:
            raise LinkLostError(f"{url}: the connection ended after {len(self._pieces)} pieces of the answer")
        return LoadAnswer(
            text="".join(self._pieces),
            finish_reason=self._finish_reason,
            num_tokens=self._usage.completion_tokens if self._usage else len(self._pieces),
            due_s=due_s,
            chunk_s=tuple(self._chunk_s) or (self._clock(),),
            chunk_characters=tuple(len(piece) for piece in self._pieces) or (0,),
            speculation=self._speculation,
        )


def _body(model: str, prompt: Prompt, settings: RequestSettings) -> dict[str, object]:
    body: dict[str, object] = {
        "model": model,
        "messages": [asdict(message) for message in prompt.messages],
        "max_tokens": settings.max_tokens,
        "temperature": settings.temperature,
        "seed": settings.seed,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if settings.mode:
        body["goodspeed"] = {"mode": settings.mode, "rule": settings.rule}
    return body

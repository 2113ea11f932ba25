"""A race on one drafter: the same chat as the system is configured, and in target-only mode, at the same time."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping

import httpx
import msgspec
from msgspec import Struct

LANES: Mapping[str, Mapping[str, str]] = {"goodspeed": {}, "target_only": {"mode": "target_only"}}
"""The `goodspeed` field of the request of each lane."""
TIMEOUT_S = 60.0
"""Time without a token after which a lane has failed."""


class RaceRequest(Struct, frozen=True):
    """What the page sends. Both lanes are greedy, so that their texts must be equal."""

    client: str
    prompt: str
    max_tokens: int = 128


class LaneEvent(Struct, frozen=True):
    """What has happened in a lane."""

    lane: str
    at_s: float
    """Since the start of the race."""
    text: str = ""
    num_tokens: int | None = None
    """At the end: tokens of the answer."""
    error: str = ""


async def race(client: httpx.AsyncClient, url: str, request: RaceRequest) -> AsyncIterator[LaneEvent]:
    """The events of both lanes, until both have ended."""
    events: asyncio.Queue[LaneEvent | None] = asyncio.Queue()
    start_s = time.monotonic()

    async def run(lane: str) -> None:
        try:
            async for text, num_tokens in _answer(client, url, request, lane):
                events.put_nowait(LaneEvent(lane, time.monotonic() - start_s, text, num_tokens))
        except (httpx.HTTPError, ValueError) as error:
            reason = str(error) or repr(error)
            events.put_nowait(LaneEvent(lane, time.monotonic() - start_s, error=reason))
        finally:
            events.put_nowait(None)

    running = [asyncio.create_task(run(lane)) for lane in LANES]
    try:
        for _ in LANES:
            while (event := await events.get()) is not None:
                yield event
    finally:
        for task in running:
            task.cancel()


async def _answer(
    client: httpx.AsyncClient, url: str, request: RaceRequest, lane: str
) -> AsyncIterator[tuple[str, int | None]]:
    """(text, None) as it comes, and at the end ("", tokens). Raises httpx.HTTPError, or ValueError for a refusal."""
    body = {
        "model": "default",
        "messages": [{"role": "user", "content": request.prompt}],
        "max_tokens": request.max_tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        "goodspeed": LANES[lane],
    }
    async with client.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=TIMEOUT_S) as reply:
        if reply.status_code != 200:
            raise ValueError((await reply.aread()).decode(errors="replace")[:500])
        async for line in reply.aiter_lines():
            if line.startswith("data: {"):
                chunk = msgspec.json.decode(line.removeprefix("data: "))
                if "error" in chunk:
                    raise ValueError(chunk["error"]["message"])
                text = "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
                usage = chunk.get("usage")
                if text or usage:
                    yield text, usage["completion_tokens"] if usage else None

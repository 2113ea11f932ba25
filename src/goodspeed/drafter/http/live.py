"""GET /live: the text of running answers as server-sent events, for those who watch the system.

It shows what users read, so it is open to the operator's key or, where no keys are needed, to clients on this machine.
"""

import asyncio
from collections.abc import AsyncIterator

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from goodspeed.drafter.http.access import check_operator
from goodspeed.drafter.live_feed import LiveFeed, Viewer

PAUSE_S = 0.1
"""Text is sent in pieces of so long a time: a write for every round would cost more than all the rest."""


class LivePage:
    """The feed of one drafter."""

    def __init__(self, feed: LiveFeed, comment_s: float) -> None:
        """A comment is sent after `comment_s` of silence."""
        self._feed = feed
        self._comment_s = comment_s

    async def feed(self, request: Request) -> Response:
        """Events of live_feed.LiveText in JSON, until the client leaves, falls behind, or the drafter stops."""
        check_operator(request)
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        return StreamingResponse(self._events(), media_type="text/event-stream", headers=headers)

    async def _events(self) -> AsyncIterator[bytes]:
        with self._feed.view() as viewer:
            yield b": live\n\n"
            async for text in self._with_comments(viewer):
                yield text

    async def _with_comments(self, viewer: Viewer) -> AsyncIterator[bytes]:
        while True:
            try:
                async with asyncio.timeout(self._comment_s + PAUSE_S):
                    texts = await viewer.next(PAUSE_S)
            except TimeoutError:
                yield b": no answer\n\n"
                continue
            yield b"".join([b"data: %b\n\n" % msgspec.json.encode(text) for text in texts if text])
            if None in texts:
                return

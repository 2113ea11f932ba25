"""Reads the servers for the page: their metrics once a second, and the text of answers as it comes."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress

import httpx
import msgspec
from msgspec import Struct

from goodspeed.dashboard.happenings import Happening, happenings
from goodspeed.dashboard.overview import DRAFTER_METRICS, Overview, overview
from goodspeed.dashboard.samples import History, Sample

log = logging.getLogger(__name__)

REFRESH_S = 1.0
TEXT_S = 0.15
"""Text is passed on in pieces of so long a time."""
SCRAPE_TIMEOUT_S = 5.0
RETRY_S = 2.0
NUM_KEPT = 60
"""Refreshes and happenings that a new viewer gets."""
MAX_BEHIND = 256


class Refresh(Struct, frozen=True, tag="refresh"):
    """The figures of one second, and what has changed."""

    overview: Overview
    happenings: Sequence[Happening]


class TextPiece(Struct, frozen=True):
    """New text of one answer of a client."""

    client: str
    stream: int
    parts: Sequence[tuple[str, str]]  # (origin, text)
    finish: str


class Texts(Struct, frozen=True, tag="texts"):
    """The text of the last moment."""

    pieces: Sequence[TextPiece]


Event = Refresh | Texts


class ServerReader:
    """It reads while there is a viewer; otherwise the servers are left alone."""

    def __init__(self, client: httpx.AsyncClient, verifiers: Sequence[str], drafters: Sequence[str]) -> None:
        """`client` carries the API key of the drafters, if they have one; it is closed by the caller."""
        self.kept: deque[Refresh] = deque(maxlen=NUM_KEPT)
        """The latest refreshes, for a new viewer."""
        self.drafter_urls: dict[str, str] = {}
        """By client name, as far as the drafters were reached."""
        self._client = client
        self._verifiers = {url: History() for url in verifiers}
        self._drafters = {url: History() for url in drafters}
        self._viewers: set[asyncio.Queue[Event | None]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._pieces: list[TextPiece] = []

    @property
    def num_viewers(self) -> int:
        """Viewers at present."""
        return len(self._viewers)

    @property
    def num_tasks(self) -> int:
        """What reads servers at present."""
        return len(self._tasks)

    @contextmanager
    def view(self) -> Iterator[asyncio.Queue[Event | None]]:
        """A queue of what happens from now on; None is the end. A viewer that is far behind misses events."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue(MAX_BEHIND)
        self._viewers.add(queue)
        if not self._tasks:
            work = [self._refresh(), self._pass_text_on(), *map(self._follow, self._drafters)]
            self._tasks = [asyncio.create_task(each) for each in work]
        try:
            yield queue
        finally:
            self._viewers.discard(queue)
            if not self._viewers:
                self._stop()

    def close(self) -> None:
        """End the queues of all viewers."""
        self._stop()
        for queue in self._viewers:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(None)

    def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks = []
        self._pieces = []

    def _send(self, event: Event) -> None:
        for queue in self._viewers:
            with suppress(asyncio.QueueFull):
                queue.put_nowait(event)

    async def _refresh(self) -> None:
        while True:
            due = asyncio.create_task(asyncio.sleep(REFRESH_S))
            verifiers = [self._scrape(url, history) for url, history in self._verifiers.items()]
            drafters = [self._scrape(url, history, DRAFTER_METRICS) for url, history in self._drafters.items()]
            await asyncio.gather(*verifiers, *drafters)
            by_client = {name: self._drafters[url] for name, url in self.drafter_urls.items()}
            now = overview(time.time(), self._verifiers, by_client)
            changes = happenings(self.kept[-1].overview, now) if self.kept else []
            self.kept.append(Refresh(now, changes))
            self._send(self.kept[-1])
            await due

    async def _scrape(self, url: str, history: History, names: Sequence[str] = ()) -> None:
        """Add a sample of the named metrics (none named: of all).

        A server that does not answer loses its history, and so is shown as down.
        """
        try:
            params = {"name[]": names}
            reply = await self._client.get(_metrics_url(url), params=params, timeout=SCRAPE_TIMEOUT_S)
            reply.raise_for_status()
            history.add(Sample.parse(reply.text, time.time()))
        except (httpx.HTTPError, ValueError) as error:
            if history.latest:
                log.warning("server does not answer", extra={"ids": {"url": url, "reason": repr(error)}})
            history.clear()

    async def _follow(self, url: str) -> None:
        """Collect the text of one drafter's answers; connect again when the feed ends."""
        while True:
            try:
                health = (await self._client.get(f"{url}/health")).json()
                if name := health.get("drafter"):
                    self.drafter_urls[name] = url
                    async for piece in self._feed(url, name):
                        self._pieces.append(piece)
            except (httpx.HTTPError, ValueError) as error:
                log.debug("no feed", extra={"ids": {"url": url, "reason": repr(error)}})
            await asyncio.sleep(RETRY_S)

    async def _feed(self, url: str, name: str) -> AsyncIterator[TextPiece]:
        async with self._client.stream("GET", f"{url}/live", timeout=httpx.Timeout(10.0, read=None)) as feed:
            feed.raise_for_status()
            async for line in feed.aiter_lines():
                if line.startswith("data: "):
                    yield msgspec.convert({"client": name, **msgspec.json.decode(line[6:])}, TextPiece)

    async def _pass_text_on(self) -> None:
        while True:
            await asyncio.sleep(TEXT_S)
            if self._pieces:
                pieces, self._pieces = self._pieces, []
                self._send(Texts(pieces))


def _metrics_url(url: str) -> str:
    return f"{url.rstrip('/').removesuffix('/metrics')}/metrics"

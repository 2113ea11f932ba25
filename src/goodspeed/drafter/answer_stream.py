"""The user's side of streams: committed tokens as they come."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

from goodspeed.decoding.draft import StreamKey
from goodspeed.drafter.core.outbox import Round, StreamEvent, StreamFailed, TokensCommitted
from goodspeed.protocol.messages import RoundMode


@dataclass(slots=True)
class AnswerStats:
    """The rounds of one answer so far."""

    verifier: str
    """Name of the verifier that committed the latest tokens."""
    opened_s: float = 0.0
    """On the clock of time.monotonic, like the next two."""
    first_s: float | None = None
    """When the first tokens came; None: not yet."""
    latest_s: float | None = None
    """When the latest tokens came."""
    rounds: list[Round] = field(default_factory=list)
    num_committed: int = 0

    @property
    def prompt_s(self) -> float:
        """Time to the first tokens: waiting, and reading the prompt."""
        return self.first_s - self.opened_s if self.first_s else 0.0

    @property
    def generation_s(self) -> float:
        """Time from the first tokens to the latest."""
        return self.latest_s - self.first_s if self.first_s and self.latest_s else 0.0

    @property
    def num_drafted(self) -> int:
        """Draft tokens that were proposed, or that the verifier drafted and verified."""
        return sum(measured.num_proposed + measured.num_co_located for measured in self.rounds)

    @property
    def num_drafts_accepted(self) -> int:
        """Of these, tokens that were committed."""
        return sum(measured.num_accepted + measured.num_co_located_accepted for measured in self.rounds)

    @property
    def num_cached(self) -> int:
        """Prompt tokens that the first verifier had in its prefix cache."""
        return self.rounds[0].num_cached if self.rounds else 0

    @property
    def rounds_by_mode(self) -> dict[str, int]:
        """remote_rounds, co_located_rounds and target_only_rounds; the round of the prompt is none of them."""
        return {f"{mode.label}_rounds": sum(r.mode is mode for r in self.rounds) for mode in RoundMode}


class AnswerStream:
    """The answers to one or more requests, side by side, as one asynchronous iterator over committed tokens.

    It ends when every answer is complete. Closing it early, or leaving its context, ends the streams here and at the
    verifier. Iterating raises what ended a stream: LinkLostError or CapacityError (no verifier, or no room, for too
    long), ProtocolError (the verifier gave the stream up), RequestError (the verifier refused it).
    """

    def __init__(self, cancel: Callable[[StreamKey, str], None]) -> None:
        """The server makes it and adds the streams. `cancel` ends a stream for a reason, unless it has ended."""
        self.stats: list[AnswerStats] = []
        """By request."""
        self._cancel = cancel
        self._keys: list[StreamKey] = []
        self._unfinished: set[StreamKey] = set()
        self._events: asyncio.Queue[StreamEvent] = asyncio.Queue()

    def add(self, stream: StreamKey, verifier: str) -> None:
        """For the server: the stream of the next request."""
        self._keys.append(stream)
        self._unfinished.add(stream)
        self.stats.append(AnswerStats(verifier, time.monotonic()))

    def put(self, event: StreamEvent, verifier: str) -> None:
        """For the server: the next event of one of the streams, and the verifier's name."""
        if isinstance(event, TokensCommitted):
            stats = self.stats_of(event.stream)
            stats.verifier = verifier
            stats.rounds.append(event.round)
            stats.num_committed += len(event.tokens)
            stats.latest_s = time.monotonic()
            stats.first_s = stats.first_s or stats.latest_s
        self._events.put_nowait(event)

    def index(self, committed: TokensCommitted) -> int:
        """The request whose answer has these tokens."""
        return self._keys.index(committed.stream)

    def stats_of(self, stream: StreamKey) -> AnswerStats:
        """The rounds of the answer with this stream."""
        return self.stats[self._keys.index(stream)]

    def __aiter__(self) -> "AnswerStream":
        return self

    async def __anext__(self) -> TokensCommitted:
        while self._unfinished:
            event = await self._events.get()
            if event.stream not in self._unfinished:
                continue  # its answer was closed
            if isinstance(event, StreamFailed):
                self._unfinished.discard(event.stream)
                raise event.error
            if event.finish:
                self._unfinished.discard(event.stream)
            return event
        raise StopAsyncIteration

    def close_answer(self, index: int) -> None:
        """End one answer, which is complete before its stream is; the others continue. Idempotent."""
        self._unfinished.discard(self._keys[index])
        self._cancel(self._keys[index], "stop")

    def close(self) -> None:
        """End all answers that are not complete. Idempotent."""
        self._unfinished.clear()
        for key in self._keys:
            self._cancel(key, "abort")

    def __enter__(self) -> "AnswerStream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

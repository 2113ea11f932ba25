"""A user's side of one stream: what is committed, as it comes."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from goodspeed.drafter.core.decisions import Round, StreamEvent, StreamFailed, TokensCommitted
from goodspeed.protocol.messages import FinishReason


@dataclass(slots=True)
class AnswerStats:
    """What an answer took so far."""

    verifier: str
    """The one that committed last."""
    rounds: int = 0
    alone: int = 0
    """Of the rounds: those without a proposal, the first among them."""
    proposed: int = 0
    accepted: int = 0
    committed: int = 0
    queue_s: float = 0.0
    verify_s: float = 0.0
    drafting_s: float = 0.0
    target_alone_s: float = 0.0
    """What the target alone would have taken for the last verifier's part, as that reckons; 0: not known."""
    took_s: float = 0.0
    """... and what it took."""

    def add(self, measured: Round, num_committed: int) -> None:
        """One more round."""
        self.rounds += 1
        self.alone += measured.is_alone
        self.proposed += measured.num_proposed
        self.accepted += measured.num_accepted
        self.committed += num_committed
        self.queue_s += measured.queue_s
        self.verify_s += measured.verify_s
        self.drafting_s += measured.drafting_s
        self.target_alone_s += measured.target_alone_s
        self.took_s += measured.took_s


class AnswerStream:
    """Iterate over it for what is committed, to the end. Closing it early ends the stream everywhere.

    Iterating raises what ended the stream: LinkLostError or CapacityError (no verifier, or no room, for too long),
    ProtocolError (the verifier gave it up), RequestError (the verifier refused it).
    """

    def __init__(self, verifier: str, on_close: Callable[[], None]) -> None:
        self.stats = AnswerStats(verifier)
        self._on_close = on_close
        self._news: asyncio.Queue[StreamEvent] = asyncio.Queue()
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Its end has been read, or it was closed."""
        return self._is_over

    def put(self, news: StreamEvent, verifier: str) -> None:
        """For the server: the stream's next news."""
        if isinstance(news, TokensCommitted):
            self.stats.add(news.round, len(news.tokens))
            self.stats.verifier = verifier
        self._news.put_nowait(news)

    def __aiter__(self) -> "AnswerStream":
        return self

    async def __anext__(self) -> TokensCommitted:
        if self._is_over:
            raise StopAsyncIteration
        news = await self._news.get()
        if isinstance(news, StreamFailed):
            self._is_over = True
            raise news.error
        self._is_over = news.finish is not FinishReason.NONE
        return news

    def close(self) -> None:
        """The rest is not wanted. Idempotent."""
        self._is_over = True
        self._on_close()

    def __enter__(self) -> "AnswerStream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

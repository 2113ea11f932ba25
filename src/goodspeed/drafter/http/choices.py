"""The answers to one request, side by side."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence

from goodspeed.drafter.answer_stream import AnswerStream
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.drafter.http.response_body import ResponseStats
from goodspeed.drafter.http.transcript import TextPiece, Transcript
from goodspeed.drafter.server import DrafterServer
from goodspeed.models.tokenizer import Tokenizer


class Choices:
    """One stream and one transcript per choice. As a context manager it ends what is not finished on the way out."""

    def __init__(self, server: DrafterServer, requests: Sequence[GenerationRequest]) -> None:
        """Opens the streams. Raises RequestError."""
        self._exits = contextlib.ExitStack()
        self._requests = requests
        self._transcripts: list[Transcript] = []
        with self._exits:
            self._answers = [self._exits.enter_context(server.generate(request)) for request in requests]
            self._exits = self._exits.pop_all()

    def transcribe(self, tokenizer: Tokenizer, stops: Sequence[str]) -> AsyncGenerator[tuple[int, TextPiece], None]:
        """(index, piece) as they come, until every choice has its finish. Raises what ends a stream."""
        self._transcripts = [Transcript(tokenizer.stream(), stops) for _ in self._answers]
        pairs = list(zip(self._answers, self._transcripts, strict=True))
        return _follow(0, *pairs[0]) if len(pairs) == 1 else _interleave(pairs)

    def tally(self, num_prompts: int) -> ResponseStats:
        """What they took so far."""
        num_choices = len(self._requests) // num_prompts
        return ResponseStats(
            num_prompt=sum(len(request.tokens) for request in self._requests[::num_choices]),
            num_completion=sum(transcript.num_tokens for transcript in self._transcripts),
            stats=[answer.stats for answer in self._answers],
        )

    def __enter__(self) -> "Choices":
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()


async def _follow(
    index: int, answer: AnswerStream, transcript: Transcript
) -> AsyncGenerator[tuple[int, TextPiece], None]:
    async for committed in answer:
        piece = transcript.push(committed)
        if piece.text or piece.logprobs or piece.finish:
            yield index, piece
        if piece.finish:
            answer.close()
            return


async def _interleave(pairs: Sequence[tuple[AnswerStream, Transcript]]) -> AsyncGenerator[tuple[int, TextPiece], None]:
    queue: asyncio.Queue[tuple[int, TextPiece] | Exception | None] = asyncio.Queue()

    async def follow(index: int, answer: AnswerStream, transcript: Transcript) -> None:
        try:
            async for item in _follow(index, answer, transcript):
                queue.put_nowait(item)
            queue.put_nowait(None)
        except Exception as error:
            queue.put_nowait(error)
            raise

    tasks = [asyncio.create_task(follow(i, *pair)) for i, pair in enumerate(pairs)]
    try:
        num_left = len(tasks)
        while num_left:
            item = await queue.get()
            if isinstance(item, Exception):
                raise item
            if item is None:
                num_left -= 1
            else:
                yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

"""From committed tokens to the text that a user sees."""

from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

from goodspeed.drafter.answer_stream import AnswerStream
from goodspeed.drafter.core.outbox import TokensCommitted
from goodspeed.drafter.http.stop_cut import StopCut
from goodspeed.drafter.http.token_logprob import NO_TOP, Scored, TokenLogprob, token_logprob
from goodspeed.drafter.http.tool_calls.call_delta import CallDelta
from goodspeed.drafter.http.tool_calls.tool_parser import ToolParser
from goodspeed.models.detokenizer import IncrementalDetokenizer, TokenText
from goodspeed.protocol.messages import FinishReason


@dataclass(frozen=True, slots=True)
class Echo:
    """The prompt as the first part of the text."""

    tokens: tuple[int, ...]
    is_all: bool
    """The text is the prompt alone; what the target generates is dropped."""


@dataclass(frozen=True, slots=True)
class TextPiece:
    """The next part of a choice's text."""

    text: str
    logprobs: tuple[TokenLogprob, ...]
    finish: str | None
    """OpenAI's finish_reason in the last piece, else None."""
    calls: tuple[CallDelta, ...] = ()
    """Parts of tool calls, in a piece without text."""

    @property
    def is_empty(self) -> bool:
        """There is nothing for the user in it, beside the finish."""
        return not (self.text or self.logprobs or self.calls)


class Transcripts:
    """The texts of all answers of a request."""

    def __init__(self, answers: AnswerStream, transcripts: Sequence["Transcript"]) -> None:
        """One transcript for each answer."""
        self.answers = answers
        self._transcripts = transcripts

    @property
    def num_tokens(self) -> int:
        """Tokens of all answers so far."""
        return sum(transcript.num_tokens for transcript in self._transcripts)

    async def pieces(self) -> AsyncIterator[tuple[int, TextPiece]]:
        """(index, piece) as they come, until every answer has its finish. Raises what ends a stream."""
        async for committed in self.answers:
            index = self.answers.index(committed)
            piece = self._transcripts[index].push(committed)
            if piece.finish or not piece.is_empty:
                yield index, piece
            if piece.finish:
                self.answers.close_answer(index)


class Transcript:
    """The text of one answer as it grows: whole characters, cut before the first stop string.

    Tokens are processed one by one, so neither the text nor the number of tokens depends on the rounds.
    """

    def __init__(
        self,
        detokenizer: IncrementalDetokenizer,
        stops: Sequence[str],
        min_tokens: int = 0,
        calls: ToolParser | None = None,
        echo: Echo | None = None,
    ) -> None:
        """Stop strings count after the first `min_tokens` tokens. The last call that `calls` may find ends the text.

        With `echo` the detokenizer has not read the prompt.
        """
        self.num_tokens = 0
        """Committed tokens up to the one that completes a stop string or the last call; an end token counts."""
        self.finish: str | None = None
        self._detokenizer = detokenizer
        self._cut = StopCut(stops)
        self._min_tokens = min_tokens
        self._calls = calls
        self._echo = echo
        self._num_decoded = 0  # characters
        self._num_shown = 0
        self._hidden: deque[TokenLogprob] = deque()  # tokens whose text is not shown yet

    def push(self, committed: TokensCommitted) -> TextPiece:
        """Append committed tokens. Do not call it after a piece with a finish."""
        shown = ""
        if self._echo:
            shown = self._push_prompt(self._echo.tokens, committed)
            if self._echo.is_all:
                return self._piece(shown + self._end(FinishReason.LENGTH))
            self._echo = None
        is_ended = committed.finish is FinishReason.STOP
        for i, token in enumerate(committed.tokens):
            self.num_tokens += 1
            if is_ended and i == len(committed.tokens) - 1:
                break  # the end token has no text
            shown += self._show(self._add(token, Scored.at(committed.logprobs, committed.top_logprobs, i)))
            if self.finish:
                return self._piece(shown)
        if committed.finish is not FinishReason.NONE:
            shown += self._end(committed.finish)
            if is_ended:
                self._add_end_token(committed)
        return self._piece(shown)

    def _push_prompt(self, tokens: Sequence[int], committed: TokensCommitted) -> str:
        """The prompt's text. Neither stop strings nor min_tokens count in it."""
        first = Scored(None, NO_TOP) if committed.logprobs else None
        shown = self._add(tokens[0], first)
        for i, token in enumerate(tokens[1:]):
            shown += self._add(token, Scored.at(committed.prompt_logprobs, committed.prompt_top_logprobs, i))
        return shown

    def _add(self, token: int, scored: Scored | None) -> str:
        """The text that the token adds, with what earlier tokens had left incomplete."""
        added = self._detokenizer.push_token(token)
        if scored:
            self._carry(added.carried)
            offset = self._num_decoded + len(added.carried)
            self._hidden.append(token_logprob(token, added, offset, scored, self._detokenizer))
        text = added.carried + added.text
        self._num_decoded += len(text)
        return text

    def _add_end_token(self, committed: TokensCommitted) -> None:
        """It has a log-probability: lm-eval takes the last one for that of the only generated token."""
        scored = Scored.at(committed.logprobs, committed.top_logprobs, -1)
        if scored:
            no_text = TokenText("", "", None)
            self._hidden.append(
                token_logprob(committed.tokens[-1], no_text, self._num_decoded, scored, self._detokenizer)
            )

    def _show(self, text: str) -> str:
        shown = text if self.num_tokens <= self._min_tokens else self._cut.push(text)
        if self._calls:
            self._calls.push(shown)
        if self._cut.is_cut or (self._calls and self._calls.is_done):
            self.finish = "stop"
        return shown

    def _end(self, finish: FinishReason) -> str:
        """The text that was held back, at the end of the answer."""
        held_back = self._detokenizer.flush()
        self._carry(held_back)
        self._num_decoded += len(held_back)
        shown = self._show(held_back)
        if self.finish is None:
            shown += self._cut.flush()
            self.finish = "length" if finish is FinishReason.LENGTH else "stop"
        return shown

    def _carry(self, text: str) -> None:
        """Text that was held back belongs to the latest token, which is not shown before its text is."""
        if text and self._hidden:
            last = self._hidden.pop()
            self._hidden.append(replace(last, text=last.text + text))

    def _piece(self, shown: str) -> TextPiece:
        self._num_shown += len(shown)
        logprobs = []
        is_whole = self.finish is not None and not self._cut.is_cut
        while self._hidden and (is_whole or self._hidden[0].offset < self._num_shown):
            logprobs.append(self._hidden.popleft())
        return TextPiece(shown, tuple(logprobs), self.finish)

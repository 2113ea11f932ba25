"""From committed tokens to the text that a user sees: whole characters, cut before a stop string."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from goodspeed.drafter.core.decisions import TokensCommitted
from goodspeed.models.tokenizer import TextStream
from goodspeed.protocol.messages import FinishReason


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token of the visible text, and where in it the token begins."""

    token: int
    logprob: float
    offset: int  # characters


@dataclass(frozen=True, slots=True)
class TextPiece:
    """What can be shown now."""

    text: str
    logprobs: tuple[TokenLogprob, ...]
    finish: str | None
    """OpenAI's finish_reason, with the last piece."""


class Transcript:
    """One answer's text as it grows.

    It takes one token at a time, so what it shows in all, and how many tokens it counts, does not depend on how the
    tokens came in rounds.
    """

    def __init__(self, text: TextStream, stops: Sequence[str]) -> None:
        self.num_tokens = 0
        """Committed, up to the one that completed a stop string; an end token counts."""
        self.finish: str | None = None
        self._text = text
        self._cut = StopCut(stops)
        self._num_decoded = 0  # characters
        self._num_shown = 0
        self._waiting: deque[TokenLogprob] = deque()  # whose text is not shown yet

    def push(self, committed: TokensCommitted) -> TextPiece:
        """The next tokens. After a piece with a finish the transcript takes nothing more."""
        shown = ""
        is_ended = committed.finish is FinishReason.STOP
        for i, token in enumerate(committed.tokens):
            self.num_tokens += 1
            if is_ended and i == len(committed.tokens) - 1:
                break  # the end token is no text
            if committed.logprobs:
                self._waiting.append(TokenLogprob(token, committed.logprobs[i], self._num_decoded))
            shown += self._show(self._text.push((token,)))
            if self.finish:
                return self._piece(shown)
        if committed.finish is not FinishReason.NONE:
            shown += self._end(committed.finish)
        return self._piece(shown)

    def _show(self, text: str) -> str:
        self._num_decoded += len(text)
        shown = self._cut.push(text)
        if self._cut.is_cut:
            self.finish = "stop"
        return shown

    def _end(self, finish: FinishReason) -> str:
        """What was held back, now that nothing more comes."""
        shown = self._show(self._text.flush())
        if self.finish is None:
            shown += self._cut.flush()
            self.finish = "length" if finish is FinishReason.LENGTH else "stop"
        return shown

    def _piece(self, shown: str) -> TextPiece:
        self._num_shown += len(shown)
        logprobs = []
        is_whole = self.finish is not None and not self._cut.is_cut
        while self._waiting and (is_whole or self._waiting[0].offset < self._num_shown):
            logprobs.append(self._waiting.popleft())
        return TextPiece(shown, tuple(logprobs), self.finish)


class StopCut:
    """Ends a text before the first stop string in it, holding back what may turn out to be the beginning of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.is_cut = False
        self._stops = stops
        self._held = ""

    def push(self, text: str) -> str:
        """What is certain to come before any stop string."""
        if not self._stops:
            return text
        text = self._held + text
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.is_cut = True
            self._held = ""
            return text[: min(found)]
        num_held = max(_overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - num_held :]
        return text[: len(text) - num_held]

    def flush(self) -> str:
        """What was held back: it was no stop string."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest proper beginning of `stop` with which the text ends."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0

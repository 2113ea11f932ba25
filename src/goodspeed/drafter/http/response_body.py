"""Response bodies: chat completions and completions, whole and in chunks."""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from goodspeed.drafter.answer_stream import AnswerStats
from goodspeed.drafter.http.transcript import TextPiece, TokenLogprob
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.protocol.messages import Welcome

Json = dict[str, object]


class ResponseFormat(Protocol):
    """How one kind of endpoint writes its choices."""

    id_prefix: str
    whole_object: str
    chunk_object: str

    def first(self, index: int) -> Json | None:
        """What opens choice `index` of a streamed answer, if anything does."""

    def delta(self, index: int, piece: TextPiece) -> Json:
        """A piece of choice `index` of a streamed answer."""

    def whole(self, index: int, piece: TextPiece) -> Json:
        """A whole choice."""


class ChatFormat:
    """/v1/chat/completions."""

    id_prefix = "chatcmpl-"
    whole_object = "chat.completion"
    chunk_object = "chat.completion.chunk"

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def first(self, index: int) -> Json | None:
        return _choice(index, {"delta": {"role": "assistant", "content": ""}}, None, None)

    def delta(self, index: int, piece: TextPiece) -> Json:
        delta: Json = {"content": piece.text} if piece.text else {}
        return _choice(index, {"delta": delta}, self._logprobs(piece.logprobs), piece.finish)

    def whole(self, index: int, piece: TextPiece) -> Json:
        message: Json = {"role": "assistant", "content": piece.text, "refusal": None}
        return _choice(index, {"message": message}, self._logprobs(piece.logprobs), piece.finish)

    def _logprobs(self, logprobs: Sequence[TokenLogprob]) -> Json | None:
        return {"content": [self._entry(entry) for entry in logprobs], "refusal": None} if logprobs else None

    def _entry(self, entry: TokenLogprob) -> Json:
        text = self._tokenizer.decode((entry.token,))
        is_part = "\ufffd" in text  # of a character: its bytes are not known by its text
        as_bytes = None if is_part else list(text.encode())
        return {"token": text, "logprob": entry.logprob, "bytes": as_bytes, "top_logprobs": []}


class CompletionFormat:
    """/v1/completions."""

    id_prefix = "cmpl-"
    whole_object = "text_completion"
    chunk_object = "text_completion"

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def first(self, index: int) -> Json | None:
        del index
        return None

    def delta(self, index: int, piece: TextPiece) -> Json:
        return self.whole(index, piece)

    def whole(self, index: int, piece: TextPiece) -> Json:
        return _choice(index, {"text": piece.text}, self._logprobs(piece.logprobs), piece.finish)

    def _logprobs(self, logprobs: Sequence[TokenLogprob]) -> Json | None:
        if not logprobs:
            return None
        return {
            "tokens": [self._tokenizer.decode((entry.token,)) for entry in logprobs],
            "token_logprobs": [entry.logprob for entry in logprobs],
            "top_logprobs": None,
            "text_offset": [entry.offset for entry in logprobs],
        }


@dataclass(frozen=True, slots=True)
class ResponseStats:
    """What a response took, over its choices."""

    num_prompt: int
    num_completion: int
    stats: Sequence[AnswerStats]

    def usage(self) -> Json:
        """OpenAI's count."""
        return {
            "prompt_tokens": self.num_prompt,
            "completion_tokens": self.num_completion,
            "total_tokens": self.num_prompt + self.num_completion,
        }

    def speculation(self) -> Json:
        """The "goodspeed" field; the speed-up is there if a verifier could tell."""
        return self._rounds() | self._speed_up()

    def _rounds(self) -> Json:
        return {
            "rounds": sum(stats.rounds for stats in self.stats),
            "alone": sum(stats.alone for stats in self.stats),
            "proposed": sum(stats.proposed for stats in self.stats),
            "accepted": sum(stats.accepted for stats in self.stats),
            "committed": sum(stats.committed for stats in self.stats),
            "queue_s": sum(stats.queue_s for stats in self.stats),
            "verify_s": sum(stats.verify_s for stats in self.stats),
            "drafting_s": sum(stats.drafting_s for stats in self.stats),
            "verifier": self.stats[-1].verifier,
        }

    def _speed_up(self) -> Json:
        target_alone_s = sum(stats.target_alone_s for stats in self.stats)
        took_s = sum(stats.took_s for stats in self.stats)
        if took_s == 0.0:
            return {}
        return {"target_alone_s": target_alone_s, "took_s": took_s, "speed_up": target_alone_s / took_s}


@dataclass(frozen=True, slots=True)
class Envelope:
    """What surrounds the choices of one response."""

    shape: ResponseFormat
    welcome: Welcome
    includes_usage: bool
    """Of a streamed response: usage is told at its end, and is null until then."""
    reply_id: str = field(default_factory=lambda: secrets.token_hex(12))
    created: int = field(default_factory=lambda: int(time.time()))

    def chunk(self, choices: Sequence[Json]) -> Json:
        """A chunk of a streamed response."""
        around = self._around(self.shape.chunk_object, choices)
        return around | {"usage": None} if self.includes_usage else around

    def last_chunk(self, tally: ResponseStats) -> Json:
        """The chunk without choices that tells the usage."""
        return self.chunk([]) | {"usage": tally.usage(), "goodspeed": tally.speculation()}

    def whole(self, choices: Sequence[Json], tally: ResponseStats) -> Json:
        """A response that is not streamed."""
        around = self._around(self.shape.whole_object, choices)
        return around | {"usage": tally.usage(), "goodspeed": tally.speculation()}

    def _around(self, kind: str, choices: Sequence[Json]) -> Json:
        return {
            "id": self.shape.id_prefix + self.reply_id,
            "object": kind,
            "created": self.created,
            "model": self.welcome.model,
            "system_fingerprint": self.welcome.model_fingerprint,
            "choices": choices,
        }


def _choice(index: int, content: Json, logprobs: Json | None, finish: str | None) -> Json:
    return {"index": index, **content, "logprobs": logprobs, "finish_reason": finish}

"""Response bodies of chat completions and completions, whole and in chunks."""

import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from goodspeed.drafter.answer_stream import AnswerStats
from goodspeed.drafter.http.token_logprob import TokenLogprob, TopLogprob
from goodspeed.drafter.http.tool_calls.call_delta import CallDelta
from goodspeed.drafter.http.transcript import TextPiece
from goodspeed.protocol.messages import Welcome

Json = dict[str, object]


class ResponseFormat(Protocol):
    """The form in which one kind of endpoint sends its choices."""

    id_prefix: str
    whole_object: str
    chunk_object: str

    def first(self, index: int) -> Json | None:
        """The first chunk of choice `index` of a streamed answer, if there is a special one."""

    def delta(self, index: int, piece: TextPiece) -> Json:
        """A piece of choice `index` of a streamed answer."""

    def whole(self, index: int, piece: TextPiece) -> Json:
        """A whole choice."""


class ChatFormat:
    """/v1/chat/completions."""

    id_prefix = "chatcmpl-"
    whole_object = "chat.completion"
    chunk_object = "chat.completion.chunk"

    def first(self, index: int) -> Json | None:
        return _choice(index, {"delta": {"role": "assistant", "content": ""}}, None, None)

    def delta(self, index: int, piece: TextPiece) -> Json:
        delta: Json = {"content": piece.text} if piece.text else {}
        if piece.calls:
            delta["tool_calls"] = [_call_delta(call) for call in piece.calls]
        return _choice(index, {"delta": delta}, self._logprobs(piece.logprobs), piece.finish)

    def whole(self, index: int, piece: TextPiece) -> Json:
        message: Json = {"role": "assistant", "content": piece.text, "refusal": None}
        if piece.calls:
            message["content"] = piece.text or None
            message["tool_calls"] = [_call(call) for call in piece.calls]
        return _choice(index, {"message": message}, self._logprobs(piece.logprobs), piece.finish)

    def _logprobs(self, logprobs: Sequence[TokenLogprob]) -> Json | None:
        return {"content": [self._entry(entry) for entry in logprobs], "refusal": None} if logprobs else None

    def _entry(self, entry: TokenLogprob) -> Json:
        top = [_named_logprob(each) for each in entry.top]
        return {**_named_logprob(entry), "top_logprobs": top}


class CompletionFormat:
    """/v1/completions."""

    id_prefix = "cmpl-"
    whole_object = "text_completion"
    chunk_object = "text_completion"

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
            "tokens": [entry.text for entry in logprobs],
            "token_logprobs": [entry.logprob for entry in logprobs],
            "top_logprobs": self._top_logprobs(logprobs),
            "text_offset": [entry.offset for entry in logprobs],
        }

    def _top_logprobs(self, logprobs: Sequence[TokenLogprob]) -> list[dict[str, float] | None] | None:
        if not any(entry.top for entry in logprobs):
            return None
        return [None if entry.logprob is None else entry.by_text for entry in logprobs]


@dataclass(frozen=True, slots=True)
class ResponseStats:
    """Tokens and rounds of a response, over all its choices."""

    num_prompt: int
    num_cached: int
    """Prompt tokens that were in a prefix cache."""
    num_completion: int
    answers: Sequence[AnswerStats]

    def usage(self) -> Json:
        """OpenAI's token counts."""
        return {
            "prompt_tokens": self.num_prompt,
            "completion_tokens": self.num_completion,
            "total_tokens": self.num_prompt + self.num_completion,
            "prompt_tokens_details": {"cached_tokens": self.num_cached},
            "completion_tokens_details": {
                "accepted_prediction_tokens": self._num_drafts_accepted,
                "rejected_prediction_tokens": self._num_drafted - self._num_drafts_accepted,
            },
        }

    def timings(self) -> Json:
        """llama.cpp's counts and times. Of several answers, counts are sums and times are of the longest."""
        prompt_n, prompt_ms = self.num_prompt - self.num_cached, _longest_ms(each.prompt_s for each in self.answers)
        predicted_n, predicted_ms = self.num_completion, _longest_ms(each.generation_s for each in self.answers)
        return {
            "cache_n": self.num_cached,
            **_timing("prompt", prompt_n, prompt_ms),
            **_timing("predicted", predicted_n, predicted_ms),
            "draft_n": self._num_drafted,
            "draft_n_accepted": self._num_drafts_accepted,
        }

    @property
    def _num_drafted(self) -> int:
        return sum(answer.num_drafted for answer in self.answers)

    @property
    def _num_drafts_accepted(self) -> int:
        return sum(answer.num_drafts_accepted for answer in self.answers)

    def speculation(self) -> Json:
        """The "goodspeed" field; it has a speed-up over the target-only baseline if a verifier has reported one."""
        rounds = [measured for answer in self.answers for measured in answer.rounds]
        by_mode = [answer.rounds_by_mode for answer in self.answers]
        counts: Json = {
            "rounds": len(rounds),
            **{name: sum(counts[name] for counts in by_mode) for name in by_mode[0]},
            "proposed": sum(measured.num_proposed for measured in rounds),
            "accepted": sum(measured.num_accepted for measured in rounds),
            "co_located": sum(measured.num_co_located for measured in rounds),
            "co_located_accepted": sum(measured.num_co_located_accepted for measured in rounds),
            "committed": sum(answer.num_committed for answer in self.answers),
            "queue_s": sum(measured.queue_s for measured in rounds),
            "verify_s": sum(measured.verify_s for measured in rounds),
            "drafting_s": sum(measured.drafting_s for measured in rounds),
            "prompt_s": sum(measured.queue_s + measured.verify_s for measured in rounds if measured.mode is None),
            "verifier": self.answers[-1].verifier,
        }
        elapsed_s = sum(measured.elapsed_s or 0.0 for measured in rounds)
        if not elapsed_s:
            return counts
        baseline_s = sum(measured.baseline_s or 0.0 for measured in rounds)
        return counts | {"baseline_s": baseline_s, "elapsed_s": elapsed_s, "speed_up": baseline_s / elapsed_s}


@dataclass(frozen=True, slots=True)
class Envelope:
    """The fields around the choices of one response."""

    format: ResponseFormat
    welcome: Welcome
    includes_usage: bool
    """A streamed response sends its usage in the last chunk; the field is null before."""
    reply_id: str = field(default_factory=lambda: secrets.token_hex(12))
    created: int = field(default_factory=lambda: int(time.time()))

    def chunk(self, choices: Sequence[Json]) -> Json:
        """A chunk of a streamed response."""
        body = self._wrap(self.format.chunk_object, choices)
        return body | {"usage": None} if self.includes_usage else body

    def last_chunk(self, stats: ResponseStats) -> Json:
        """The chunk with the usage; it has no choices."""
        return self.chunk([]) | _counts(stats)

    def whole(self, choices: Sequence[Json], stats: ResponseStats) -> Json:
        """A response that is not streamed."""
        body = self._wrap(self.format.whole_object, choices)
        return body | _counts(stats)

    def _wrap(self, kind: str, choices: Sequence[Json]) -> Json:
        return {
            "id": self.format.id_prefix + self.reply_id,
            "object": kind,
            "created": self.created,
            "model": self.welcome.model,
            "system_fingerprint": self.welcome.model_fingerprint,
            "choices": choices,
        }


def _counts(stats: ResponseStats) -> Json:
    return {"usage": stats.usage(), "timings": stats.timings(), "goodspeed": stats.speculation()}


def _longest_ms(seconds: Iterable[float]) -> float:
    return 1000.0 * max(seconds, default=0.0)


def _timing(name: str, num_tokens: int, ms: float) -> Json:
    """A rate without tokens or without time is 0: JSON has no infinity."""
    return {
        f"{name}_n": num_tokens,
        f"{name}_ms": ms,
        f"{name}_per_token_ms": ms / num_tokens if num_tokens else 0.0,
        f"{name}_per_second": 1000.0 * num_tokens / ms if ms else 0.0,
    }


def _named_logprob(entry: TokenLogprob | TopLogprob) -> Json:
    data = None if entry.data is None else list(entry.data)
    return {"token": entry.text, "logprob": entry.logprob, "bytes": data}


def _call(call: CallDelta) -> Json:
    return {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _call_delta(call: CallDelta) -> Json:
    """Only the first part of a call has its id and its name: clients join what they get."""
    if call.name:
        return {"index": call.index, **_call(call)}
    return {"index": call.index, "function": {"arguments": call.arguments}}


def _choice(index: int, content: Json, logprobs: Json | None, finish: str | None) -> Json:
    return {"index": index, **content, "logprobs": logprobs, "finish_reason": finish}

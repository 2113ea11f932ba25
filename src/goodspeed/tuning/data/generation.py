"""Batched generation with the top k of every position, and scoring of given answers, on the embedded decoder."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from goodspeed.decoding.rules import choose
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.block_table import BlockTable
from goodspeed.engine.torch.batch import Segment
from goodspeed.engine.torch.decoder import Decoder
from goodspeed.engine.torch.kv import KvPool
from goodspeed.tuning.data.example import Example, Origin, Rejected

MAX_PREFILL = 1024  # prompt tokens of one step
MAX_SCORED = 1024  # answer tokens with logits in memory at once: 200 MB of float32 at a vocabulary of 49,152


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """A prompt to answer."""

    origin: Origin
    prompt: tuple[int, ...]
    max_tokens: int

    @property
    def sampling(self) -> Sampling:
        """Greedy, or coupled to the seed's noise: the answer does not depend on the batch."""
        origin = self.origin
        rule = Rule.COUPLED if origin.temperature else Rule.GREEDY
        return Sampling(temperature=origin.temperature, seed=origin.seed, rule=rule)


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """A given answer, to be scored."""

    origin: Origin
    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    rejected: tuple[Rejected, ...] = ()


@dataclass(slots=True)
class _Stream:
    request: AnswerRequest
    sampling: Sampling
    table: BlockTable
    answer: list[int] = field(default_factory=list)
    top_tokens: list[npt.NDArray[np.int32]] = field(default_factory=list)
    top_logprobs: list[npt.NDArray[np.float16]] = field(default_factory=list)

    def segment(self) -> Segment:
        prompt = self.request.prompt
        if not self.answer:
            return Segment(prompt, self.table, 0, 1)
        return Segment(self.answer[-1:], self.table, len(prompt) + len(self.answer) - 1, 1)

    def example(self) -> Example:
        return Example(
            self.request.origin,
            np.array(self.request.prompt, dtype=np.int32),
            np.array(self.answer, dtype=np.int32),
            np.stack(self.top_tokens),
            np.stack(self.top_logprobs),
        )


class Generator:
    """Answers requests in batches of up to `num_streams`, and scores given answers.

    An answer does not depend on the rest of the batch, as far as the decoder is batch-invariant.
    """

    def __init__(self, decoder: Decoder, num_streams: int, top_k: int, kv_capacity: int) -> None:
        """`kv_capacity`: tokens of all streams together, prompts and answers; every request must fit."""
        self._decoder = decoder
        self._num_streams = num_streams
        self._top_k = top_k
        self._pool = KvPool(decoder.config, kv_capacity, decoder.dtype, decoder.device)
        self._active: list[_Stream] = []

    def answers(self, requests: Iterable[AnswerRequest]) -> Iterator[Example]:
        """One answer for each request, in the order in which they end."""
        waiting = iter(requests)
        next_request = next(waiting, None)
        while next_request or self._active:
            next_request = self._admit(next_request, waiting)
            self._step()
            for stream in [stream for stream in self._active if self._is_over(stream)]:
                self._active.remove(stream)
                self._pool.free(stream.table)
                yield stream.example()

    @torch.inference_mode()
    def score(self, recorded: RecordedAnswer) -> Example:
        """The given answer with the model's top k at every token, in one forward pass."""
        tokens, first = recorded.prompt + recorded.answer[:-1], len(recorded.prompt) - 1
        table = self._pool.reserve(len(tokens))
        try:
            if first:
                self._decoder.forward([Segment(tokens[:first], table, 0, 0)], self._pool)
            parts = [self._scored(tokens, table, start) for start in range(first, len(tokens), MAX_SCORED)]
        finally:
            self._pool.free(table)
        top_tokens, top_logprobs = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        prompt, answer = (np.array(part, dtype=np.int32) for part in (recorded.prompt, recorded.answer))
        return Example(recorded.origin, prompt, answer, top_tokens, top_logprobs, rejected=recorded.rejected)

    def _scored(
        self, tokens: Sequence[int], table: BlockTable, start: int
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float16]]:
        new = tokens[start : start + MAX_SCORED]
        return self._top(self._decoder.forward([Segment(new, table, start, len(new))], self._pool).float())

    def _admit(self, next_request: AnswerRequest | None, waiting: Iterator[AnswerRequest]) -> AnswerRequest | None:
        """Open streams while the batch and the KV pool have room. Returns the first request without room."""
        num_prefilled = 0
        while next_request and len(self._active) < self._num_streams and num_prefilled < MAX_PREFILL:
            length = len(next_request.prompt) + next_request.max_tokens
            if self._active and not self._pool.has_room(length):
                break
            self._active.append(_Stream(next_request, next_request.sampling, self._pool.reserve(length)))
            num_prefilled += len(next_request.prompt)
            next_request = next(waiting, None)
        return next_request

    @torch.inference_mode()
    def _step(self) -> None:
        logits = self._decoder.forward([stream.segment() for stream in self._active], self._pool).float()
        greedy = logits.argmax(-1).tolist()
        for stream, likeliest, row, tokens, logprobs in zip(
            self._active, greedy, logits, *self._top(logits), strict=True
        ):
            position = len(stream.request.prompt) + len(stream.answer)
            is_greedy = stream.sampling.rule is Rule.GREEDY
            chosen = likeliest if is_greedy else int(choose(row[None].cpu().numpy(), stream.sampling, position)[0])
            stream.answer.append(chosen)
            stream.top_tokens.append(tokens)
            stream.top_logprobs.append(logprobs)

    def _top(self, logits: torch.Tensor) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float16]]:
        """(tokens, log-probabilities), [rows, k] each, likeliest first, from [rows, vocab] float32 logits."""
        values, tokens = logits.topk(self._top_k)
        logprobs = values - logits.logsumexp(-1, keepdim=True)
        return tokens.to(torch.int32).cpu().numpy(), logprobs.to(torch.float16).cpu().numpy()

    def _is_over(self, stream: _Stream) -> bool:
        return stream.answer[-1] in self._decoder.config.end_tokens or len(stream.answer) == stream.request.max_tokens

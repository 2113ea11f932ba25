"""The engine seams: what the verifier asks of a target engine, and the drafter of a draft engine.

Both seams speak in tokens and outcomes, not logits, so that an engine that owns its own loop and its own
acceptance test (vLLM) fits as well as one that is called for a forward pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from msgspec import Struct

from goodspeed.decoding.draft import Draft, DraftRequest, SparseProbs, StreamKey
from goodspeed.decoding.sampling import Sampling


class DraftEngine(Protocol):
    """Proposes tokens. Called from one thread at a time; calls for unknown streams are programming errors."""

    def open(self, stream: StreamKey, tokens: Sequence[int], sampling: Sampling) -> None:
        """Begin a stream whose committed prefix is `tokens` (prompt, and answer so far when it is resumed)."""

    def draft(self, requests: Sequence[DraftRequest]) -> list[Draft]:
        """One draft per request, in order; drafts may be empty. Batched over streams."""

    def commit(self, stream: StreamKey, tokens: Sequence[int]) -> None:
        """Extend the committed prefix by the target's own tokens; whatever was drafted beyond it is dropped.

        The engine may learn from them (the table does; calibration compares them with its last draft).
        """

    def close(self, stream: StreamKey) -> None:
        """Forget the stream and free what it holds."""


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """What the verifier must know of its engine."""

    model: str
    """Name shown to users, for instance "smollm2-135m-instruct"."""
    model_fingerprint: str
    """Hash of weights' identity and precision: equal fingerprints give equal text."""
    tokenizer_fingerprint: str
    """Hash of vocabulary, merges and special tokens; drafters must have the same."""
    vocab_size: int
    max_context: int  # tokens of one stream, prompt and answer
    kv_capacity: int  # tokens of all streams together
    end_tokens: tuple[int, ...] = ()
    """Tokens that end an answer unless the request says otherwise."""


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """A stream as its target engine sees it."""

    tokens: tuple[int, ...]
    """Committed prefix at opening: prompt, and answer so far when resumed. At least one token."""
    sampling: Sampling
    capacity: int
    """KV tokens reserved for it: prefix, what may still be committed, and the longest proposal."""
    logprobs: bool = False
    """Report the log-probability of every committed token."""


class Prefill(Struct, frozen=True, gc=False):
    """Run the next `num_tokens` of the stream's prefix through the model."""

    stream: StreamKey
    num_tokens: int


class Verify(Struct, frozen=True, gc=False):
    """Judge a proposal on top of everything committed so far (empty: plain decoding of one token)."""

    stream: StreamKey
    draft_tokens: tuple[int, ...]
    draft_probs: tuple[SparseProbs, ...] = ()


Work = Prefill | Verify


class Outcome(Struct, frozen=True, gc=False):
    """What became of one piece of work.

    Committed by it: the first `num_accepted` draft tokens, then `next_token` (recovered or bonus). `next_token` is
    None only for a prefill chunk that does not finish the prefix.
    """

    stream: StreamKey
    num_accepted: int
    next_token: int | None
    logprobs: tuple[float, ...] = ()
    """Natural log of the target's probability (temperature 1, before truncation) of each committed token, if asked."""


class TargetEngine(Protocol):
    """Runs the target model. Called from one thread at a time, off the event loop."""

    @property
    def info(self) -> TargetInfo: ...

    def open(self, stream: StreamKey, spec: StreamSpec) -> None:
        """Begin a stream. The caller has admitted spec.capacity against info.kv_capacity, so this cannot be full."""

    def step(self, batch: Sequence[Work]) -> list[Outcome]:
        """One forward pass over a ragged batch; at most one piece of work per stream; outcomes in order.

        The prefix is wholly prefilled before the stream's first Verify. A token that an outcome commits stays.
        """

    def close(self, stream: StreamKey) -> None:
        """Forget the stream and free its KV memory."""

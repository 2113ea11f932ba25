"""The engine interfaces: TargetEngine and CoLocatedDrafts for the verifier, DraftEngine for the drafter.

All exchange tokens and outcomes, not logits. So an engine with its own loop and its own acceptance test, such as vLLM,
can implement them as well as an engine that is called for each forward pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from msgspec import Struct

from goodspeed.decoding.draft import Draft, DraftRequest, SparseProbs, StreamKey
from goodspeed.decoding.logprobs import TopTokens
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.grammar.grammars import Grammars


class DraftEngine(Protocol):
    """Proposes tokens. It is called from one thread at a time. A call for an unknown stream is a programming error."""

    def open(self, stream: StreamKey, tokens: Sequence[int], sampling: Sampling) -> None:
        """Start a stream with the committed prefix `tokens`: the prompt, and the answer so far if it is resumed."""

    def draft(self, requests: Sequence[DraftRequest]) -> list[Draft]:
        """One draft per request, in order; a draft may be empty. The engine may batch over streams.

        Its tokens are those of a stream that was opened with the committed prefix and request.after (drawn tokens: of
        the same distribution, but drawn anew after every commit). So a draft can be continued: with the drafted tokens
        as `after`, the engine keeps what it has computed for them.
        """

    def commit(self, stream: StreamKey, tokens: Sequence[int]) -> None:
        """Extend the committed prefix by the target's own tokens.

        The engine may learn from them: an n-gram table counts them, a calibration compares them with the last draft,
        which includes all parts of a draft that was continued.
        """

    def close(self, stream: StreamKey) -> None:
        """End the stream and free its memory."""


@runtime_checkable
class ReadsLater(Protocol):
    """A draft engine whose model can read long texts in pieces between drafts, and meanwhile drafts without it."""

    def read_later(self) -> None:
        """From now on, `open` and `draft` read no long text: `catch_up` does."""

    def catch_up(self) -> bool:
        """Read a piece of a stream's committed tokens. False: no stream has much left that its model has not read."""


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """What the verifier must know about its engine."""

    model: str
    """Name shown to users, for example "smollm2-135m-instruct"."""
    model_fingerprint: str
    """Hash of weights and precision: engines with equal fingerprints generate equal text."""
    tokenizer_fingerprint: str
    """Hash of vocabulary, merges and special tokens; a drafter needs the same."""
    vocab_size: int
    max_context: int  # tokens of one stream, prompt and answer
    kv_capacity: int  # tokens, over all streams
    kv_block: int = 1
    """KV tokens of a block: the engine allocates whole blocks, and streams share whole blocks of a common prefix."""
    end_tokens: tuple[int, ...] = ()
    """Tokens that end an answer unless the request says otherwise."""
    max_streams: int = 2**16
    """Streams that may be open at once."""
    tokenizer_size: int | None = None
    """Number of tokens of the tokenizer; None: vocab_size. Ids from there to vocab_size are padding."""
    grammars: str = ""
    """Version of the grammars of constrained streams; empty: there are none. Its server sets it."""

    @property
    def num_tokens(self) -> int:
        """Ids that stand for a token: what a draft engine must know."""
        return self.vocab_size if self.tokenizer_size is None else min(self.vocab_size, self.tokenizer_size)

    def kv_tokens(self, num_tokens: int) -> int:
        """KV tokens in the blocks that hold a stream of this length."""
        return -(-num_tokens // self.kv_block) * self.kv_block


class CachedPrefix(Struct, frozen=True, gc=False):
    """The keys and values of a stream's first tokens, which the engine has: those of a retained or an open stream."""

    source: StreamKey
    num_tokens: int


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """What a target engine needs to open a stream."""

    tokens: tuple[int, ...]
    """Committed prefix: the prompt, and the answer so far if the stream is resumed. At least one token."""
    sampling: Sampling
    capacity: int
    """KV tokens that it may need at most: the prefix, all tokens that may still be committed, the longest proposal."""
    logprobs: bool = False
    """Report the log-probability of every committed token."""
    client: str = ""
    """Name of the drafter whose text it is."""
    client_stream: int = 0
    """The drafter's own number of the stream."""
    prefix: CachedPrefix | None = None
    """The first tokens that are not prefilled again: fewer than all."""
    num_resumed: int = 0
    """Last tokens of the prefix that belong to the answer: the stream is resumed."""
    end_tokens: tuple[int, ...] = ()
    """Tokens that end the answer."""
    top_logprobs: int = 0
    """With `logprobs`: how many of the most likely tokens to report at each position."""
    prompt_logprobs: bool = False
    """With `logprobs`: report those of the prompt as well. The prefix is the prompt, and none of it is cached."""

    @property
    def num_prompt(self) -> int:
        """First tokens of the prefix that are the prompt."""
        return len(self.tokens) - self.num_resumed


class Prefill(Struct, frozen=True, gc=False):
    """Run the next `num_tokens` of the stream's prefix through the model."""

    stream: StreamKey
    num_tokens: int


class Verify(Struct, frozen=True, gc=False):
    """Verify a proposal on top of all committed tokens; without draft tokens, decode one token."""

    stream: StreamKey
    draft_tokens: tuple[int, ...]
    draft_probs: tuple[SparseProbs, ...] = ()


Work = Prefill | Verify


class Outcome(Struct, frozen=True, gc=False):
    """The result of one work item.

    It commits the first `num_accepted` draft tokens and then `next_token` (recovered or bonus). `next_token` is None
    only for a prefill chunk that does not complete the prefix.
    """

    stream: StreamKey
    num_accepted: int
    next_token: int | None
    logprobs: tuple[float, ...] = ()
    """If requested, the log-probability of each committed token, as decoding.logprobs defines it."""
    failure: str = ""
    """Why the stream cannot go on, for its user: what the outcome commits is void, and the stream is to be closed."""
    top_logprobs: tuple[TopTokens, ...] = ()
    """If requested, the most likely tokens at the position of each committed token."""
    prompt_logprobs: tuple[float, ...] = ()
    """If requested, in the outcome that completes the prefix: of each token of the prompt but the first."""
    prompt_top_logprobs: tuple[TopTokens, ...] = ()


class TargetEngine(Protocol):
    """Runs the target model. It is called from one thread at a time, off the event loop."""

    @property
    def info(self) -> TargetInfo: ...

    @property
    def grammars(self) -> Grammars | None:
        """Compiles the constraints of its streams; None: it takes none."""

    def open(self, stream: StreamKey, spec: StreamSpec) -> None:
        """Start a stream, with the blocks of spec.prefix, as if it had been prefilled so far.

        The engine allocates further blocks when a step needs them. The caller counts them: of all that is retained and
        open, what the next step writes fits in info.kv_capacity. Whole blocks of a prefix count once.
        """

    def step(self, batch: Sequence[Work]) -> list[Outcome]:
        """Run one forward pass over a ragged batch with at most one work item per stream; outcomes in order.

        A stream's prefix is prefilled before its first Verify. If the last prefix token is left to that Verify, then no
        token is committed before it: so a stream is continued whose last token was committed earlier. A committed token
        is never withdrawn.
        """

    def retain(self, stream: StreamKey, num_tokens: int) -> None:
        """End the stream, but keep the keys and values of its first `num_tokens` tokens: a source of prefixes.

        The stream has its whole prefix prefilled and more than `num_tokens` committed tokens. Its other memory is free.
        """

    def close(self, stream: StreamKey) -> None:
        """End the stream, or stop retaining it, and free its KV memory."""


class CoLocatedDrafts(Protocol):
    """Drafts for the streams of a verifier. It is called from the engine's thread only.

    Unlike a DraftEngine it gets calls that it may not need: open and commit must be cheap, because they are called
    for every stream, and drafts may never be requested.
    """

    def open(self, stream: StreamKey, spec: StreamSpec) -> None:
        """Start a stream with the committed prefix spec.tokens."""

    def draft(self, requests: Sequence[DraftRequest]) -> list[Draft]:
        """One draft per request, in order; a draft may be empty."""

    def commit(self, stream: StreamKey, tokens: Sequence[int]) -> None:
        """Extend the stream's committed prefix. The work is put off until the next draft."""

    def close(self, stream: StreamKey) -> None:
        """End the stream and free its memory."""

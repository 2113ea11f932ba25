"""The messages of the protocol, as plain data. The wire form is goodspeed.proto; codec.py translates.

A session: Hello -> Welcome | Refused. A stream: Open -> Opened, then Verdict of round 0 (the target's token after the
prefix) once it is prefilled; then Propose of round r -> Verdict of round r, r = 1, 2, ... until a Verdict carries a
finish reason, or either side ends it (Cancel, Error). In fused mode the verifier goes on alone: Verdicts arrive without
Proposes. Rounds are idempotent: a repeated Propose gets the same Verdict again.
"""

from enum import IntEnum

from msgspec import Struct

from goodspeed.decoding.draft import SparseProbs
from goodspeed.decoding.sampling import Sampling
from goodspeed.errors import ErrorCode

PROTOCOL_VERSION = 2


class Mode(IntEnum):
    """Who makes a stream's tokens."""

    DISTRIBUTED = 0
    """Drafter proposes, verifier verifies."""
    TARGET_ONLY = 1
    """The verifier generates alone: the target alone, on the same engine, through the same link."""


class FinishReason(IntEnum):
    """Why a stream ended. NONE, which is false: it goes on."""

    NONE = 0
    STOP = 1
    LENGTH = 2


class Hello(Struct, frozen=True):
    """First message of a drafter."""

    version: int
    drafter: str
    """The client among whom the budget is shared; a second session of the same name supersedes the first."""
    tokenizer_fingerprint: str
    token: str = ""
    """Bearer token, where the transport does not carry it as metadata."""


class Welcome(Struct, frozen=True):
    """The verifier's answer: who it is, and its limits."""

    version: int
    verifier: str
    model: str
    model_fingerprint: str
    vocab_size: int
    max_context: int
    max_streams: int  # open streams per session
    max_proposal: int  # tokens per proposal, whatever the grant
    end_tokens: tuple[int, ...]


class Refused(Struct, frozen=True):
    """The verifier does not want this session, and says why."""

    code: ErrorCode
    reason: str


class Open(Struct, frozen=True):
    """Open a stream, or resume one: `tokens` is the prompt, followed by the answer so far when resumed.

    `num_prompt` of `tokens` are prompt; `epoch` grows with every reopening of the same stream.
    """

    stream: int
    epoch: int
    tokens: tuple[int, ...]
    num_prompt: int
    max_tokens: int
    """Answer tokens wanted in all, counted from the end of the prompt."""
    sampling: Sampling
    end_tokens: tuple[int, ...]
    """Tokens that finish the stream (they are committed, and reason is STOP); empty: none."""
    mode: Mode = Mode.DISTRIBUTED
    logprobs: bool = False


class Opened(Struct, frozen=True):
    """The stream is admitted; its prefix is being prefilled. (An Open may wait in the queue before this.)"""

    stream: int
    epoch: int


class Propose(Struct, frozen=True, gc=False):
    """Draft tokens on top of a committed prefix. len(tokens) <= grant of the last Verdict."""

    stream: int
    epoch: int
    round: int
    committed_length: int
    """Committed tokens, prompt included."""
    committed_crc32: int
    """`session.tokens_crc32` of these tokens."""
    tokens: tuple[int, ...]
    confidences: tuple[int, ...] = ()
    """Round(255 * Pr(accepted | all before are)), one per token, or empty."""
    draft_probs: tuple[SparseProbs, ...] = ()
    drafting_us: int = 0


class Verdict(Struct, frozen=True, gc=False):
    """What the target makes of a proposal: it commits the first `num_accepted` draft tokens, then `next_token`."""

    stream: int
    epoch: int
    round: int
    num_accepted: int
    next_token: int
    """The target's own; where an end token or max_tokens falls inside the accepted draft, the last token committed."""
    committed_length: int
    """Committed tokens after this round, prompt included."""
    grant: int
    finish: FinishReason = FinishReason.NONE
    queue_us: int = 0
    verify_us: int = 0
    logprobs: tuple[float, ...] = ()  # float32, one per token committed by this round, if asked for
    baseline_us: int = 0
    """With a finish: what the target alone would have taken since this epoch was opened; 0: not known."""
    elapsed_us: int = 0
    """... and what it took."""


class Cancel(Struct, frozen=True):
    """The drafter no longer wants the stream; everything that it holds is freed."""

    stream: int
    epoch: int


class Load(Struct, frozen=True):
    """How busy the verifier is (for routing); sent when it changes, at most once a second."""

    open_streams: int
    queued_streams: int
    kv_used: int
    kv_capacity: int


class Error(Struct, frozen=True):
    """Something was wrong with a stream, or (stream None) with the session, which then ends."""

    code: ErrorCode
    reason: str
    stream: int | None = None
    epoch: int = 0


FromDrafter = Hello | Open | Propose | Cancel
FromVerifier = Welcome | Refused | Opened | Verdict | Load | Error
Message = FromDrafter | FromVerifier

"""The messages of the protocol. Their wire form is goodspeed.proto, which codec.py translates.

A session: Hello -> Welcome | Refused. A stream: Open -> Opened, then Verdict of round 0 (the target's token after the
prefix) once it is prefilled; then Propose of round r -> Verdict of round r, r = 1, 2, ... until a Verdict has a finish
reason, or either end closes the stream (Cancel, Error). After a grant of 0 the round is local: its Verdict comes
without a Propose. Rounds are idempotent: a repeated Propose gets the same Verdict again.

The fields of a message are those of goodspeed.proto, whose comments are the contract. Times are in microseconds.
"""

from enum import IntEnum

from msgspec import Struct

from goodspeed.decoding.draft import SparseProbs
from goodspeed.decoding.logprobs import TopTokens
from goodspeed.decoding.mode import Mode
from goodspeed.decoding.sampling import Sampling
from goodspeed.errors import ErrorCode

PROTOCOL_VERSION = 5


class RoundMode(IntEnum):
    """Which drafts a round had."""

    REMOTE = 0
    """A proposal of at least one token, whatever the verifier drafted beside it."""
    CO_LOCATED = 1
    """The verifier's own only."""
    TARGET_ONLY = 2
    """None."""

    @property
    def label(self) -> str:
        """Its name in metrics, logs and answers."""
        return self.name.lower()


class FinishReason(IntEnum):
    """Why a stream ended. NONE, which is false: it continues."""

    NONE = 0
    STOP = 1
    LENGTH = 2


class Hello(Struct, frozen=True):
    """First message of a drafter."""

    version: int
    drafter: str
    """Name of the client, which gets one share of the budget; a second session of it supersedes the first."""
    tokenizer_fingerprint: str
    token: str = ""
    """Bearer token, where the transport carries no metadata."""


class Welcome(Struct, frozen=True):
    """The verifier accepts the session: its name, its model and its limits."""

    version: int
    verifier: str
    model: str
    model_fingerprint: str
    vocab_size: int
    max_context: int
    max_streams: int  # open streams per session
    max_proposal: int  # tokens per proposal, whatever the grant
    end_tokens: tuple[int, ...]
    keeps_prefixes: bool = False
    """Open.known may name the texts of earlier streams."""
    grammars: str = ""
    """Version of the grammars by which it constrains answers; empty: it takes no constraints."""


class Refused(Struct, frozen=True):
    """The verifier refuses the session."""

    code: ErrorCode
    reason: str


class KnownPrefix(Struct, frozen=True):
    """The first tokens of an Open: those of the text of an earlier stream of the same drafter name."""

    stream: int
    length: int
    digest: int
    """As known_prefix.tokens_digest."""


class Open(Struct, frozen=True):
    """Opens a stream, or resumes it: `tokens` is the prompt, followed by the committed part of the answer.

    The first `num_prompt` of `tokens` are the prompt. Every reopening of the stream has a greater epoch.
    """

    stream: int
    epoch: int
    tokens: tuple[int, ...]
    num_prompt: int
    max_tokens: int
    """Maximum length of the answer, counted from the end of the prompt."""
    sampling: Sampling
    end_tokens: tuple[int, ...]
    """Tokens that finish the stream with STOP; they are committed."""
    mode: Mode = Mode.DISTRIBUTED
    logprobs: bool = False
    top_logprobs: int = 0
    """With logprobs: how many of the most likely tokens verdicts report at each position."""
    prompt_logprobs: bool = False
    """With logprobs: the verdict of round 0 reports those of the prompt, which then is the whole prefix."""
    known: KnownPrefix | None = None
    """Tokens before `tokens` that are left out."""


class Opened(Struct, frozen=True):
    """The stream is admitted and its prefix is being prefilled. Before, the Open may have waited in a queue.

    Sent again while the stream is preempted, every few seconds: its verdict comes when it has memory again.
    """

    stream: int
    epoch: int
    cached_tokens: int = 0
    """First tokens of the prefix that the verifier need not read: its prefix cache has them."""


class Propose(Struct, frozen=True, gc=False):
    """Draft tokens on top of a committed prefix, at most as many as the grant of the last Verdict."""

    stream: int
    epoch: int
    round: int
    committed_length: int
    """Committed tokens, prompt included."""
    committed_crc32: int
    """session.tokens_crc32 of these tokens."""
    tokens: tuple[int, ...]
    confidences: tuple[int, ...] = ()
    """round(255 * Pr(accepted | all before it are)), one per token, or empty."""
    draft_probs: tuple[SparseProbs, ...] = ()
    drafting_us: int = 0
    """Drafting after the last Verdict; 0 if run-ahead has drafted all tokens before it."""


class Verdict(Struct, frozen=True, gc=False):
    """The result of a round. It commits the first `num_accepted` proposed tokens, `co_located_tokens`, `next_token`."""

    stream: int
    epoch: int
    round: int
    num_accepted: int
    """Length of the common prefix of the whole proposal and of the tokens that this round commits without the last."""
    next_token: int
    """The target's own token; where the stream ends inside the accepted draft, the last committed token."""
    committed_length: int
    """Committed tokens after this round, prompt included."""
    grant: int
    """Maximum length of the next proposal; 0: the next round is local, without a proposal."""
    finish: FinishReason = FinishReason.NONE
    queue_us: int = 0
    verify_us: int = 0
    logprobs: tuple[float, ...] = ()  # float32, one per token committed by this round, if requested
    baseline_us: int | None = None
    """With a finish reason: estimated time of target-only mode, from the Opened of this epoch; None: no estimate."""
    elapsed_us: int | None = None
    """With a finish reason: measured time, from the Opened of this epoch; None: no estimate to compare it with."""
    co_located_tokens: tuple[int, ...] = ()
    """Accepted draft tokens of the verifier's own."""
    num_co_located: int = 0
    """Draft tokens of its own that the verifier has verified in this round."""
    shadow: int = 0
    """With grant 0: the drafter shall send a ShadowDraft of at most so many tokens; 0: none."""
    top_logprobs: tuple[TopTokens, ...] = ()  # one per token committed by this round, if requested
    prompt_logprobs: tuple[float, ...] = ()  # float32, round 0: one per token of the prompt but the first, if requested
    prompt_top_logprobs: tuple[TopTokens, ...] = ()

    def mode(self, num_proposed: int) -> RoundMode:
        """The mode of the round, in which the drafter proposed `num_proposed` tokens."""
        if num_proposed:
            return RoundMode.REMOTE
        return RoundMode.CO_LOCATED if self.num_co_located else RoundMode.TARGET_ONLY

    @property
    def num_committed(self) -> int:
        """Tokens that this round commits."""
        return self.num_accepted + len(self.co_located_tokens) + 1


class ShadowDraft(Struct, frozen=True, gc=False):
    """What the drafter would have proposed, as a Verdict has requested. No one awaits, verifies or answers it."""

    stream: int
    epoch: int
    round: int
    """Of the Verdict."""
    committed_length: int
    """Committed tokens that precede the draft, prompt included."""
    tokens: tuple[int, ...]
    drafting_us: int = 0
    saved_us: int = 0
    """Of drafting_us, what run-ahead saves of a round with such a proposal, on average."""


class ChangeMode(Struct, frozen=True):
    """From the next grant on, the stream is as if it had been opened in this mode. The verifier does not reply.

    It is harmless to repeat. A grant of before is answered by a proposal, an empty one if the mode has none.
    """

    stream: int
    epoch: int
    mode: Mode


class Cancel(Struct, frozen=True):
    """The drafter no longer wants the stream. The verifier frees what the stream holds, and does not reply."""

    stream: int
    epoch: int


class Load(Struct, frozen=True):
    """How busy the verifier is. The verifier sends it when it changes, at most once per second."""

    open_streams: int
    queued_streams: int
    kv_used: int
    kv_capacity: int
    busy_permille: int = 0
    """Share of the time between the last two reports that steps took, in thousandths."""
    waiting_streams: int = 0
    """Streams with work for the engine when the last batch was closed."""
    batch_streams: int = 0
    """Of these, the streams in the batch."""
    batch_tokens: int = 0
    """New tokens of that batch, those of prompts included."""

    @property
    def queue_utilisation(self) -> float:
        """The share of time that the engine is busy, times waiting streams per served one.

        1 if the engine is always busy and serves all that wait; above, streams are left over.
        """
        return self.busy_permille / 1000 * self.waiting_streams / max(1, self.batch_streams)


class Error(Struct, frozen=True):
    """An error of a stream, which is closed, or (stream is None) of the session, which ends."""

    code: ErrorCode
    reason: str
    stream: int | None = None
    epoch: int = 0


FromDrafter = Hello | Open | Propose | ShadowDraft | ChangeMode | Cancel
FromVerifier = Welcome | Refused | Opened | Verdict | Load | Error
Message = FromDrafter | FromVerifier

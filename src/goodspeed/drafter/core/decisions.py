"""What the drafter's core tells its host: messages for the verifier, news for users, work for the draft engine."""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct

from goodspeed.decoding.draft import DraftRequest, StreamKey
from goodspeed.decoding.sampling import Sampling
from goodspeed.errors import GoodSpeedError
from goodspeed.protocol.messages import FinishReason, FromDrafter


class Round(Struct, frozen=True, gc=False):
    """What one round brought and cost."""

    num_proposed: int
    num_accepted: int
    grant: int
    """For the next round."""
    queue_s: float
    verify_s: float
    drafting_s: float = 0.0
    rtt_s: float | None = None
    """From proposal to verdict, less queue and verification; None where the verdict answers none."""
    target_alone_s: float = 0.0
    """Of the last round: what the target alone would have taken since the opening; 0: not known."""
    took_s: float = 0.0
    """... and what it took."""

    @property
    def is_alone(self) -> bool:
        """The verifier went on without a proposal."""
        return self.rtt_s is None


class TokensCommitted(Struct, frozen=True, gc=False):
    """The answer went on; with a finish reason it is complete."""

    stream: StreamKey
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    """One per token, if the request asked for them."""
    finish: FinishReason
    round: Round
    verifier: int
    """Whose verdict it was."""


class StreamFailed(Struct, frozen=True):
    """The stream ended without its answer's end."""

    stream: StreamKey
    error: GoodSpeedError


StreamEvent = TokensCommitted | StreamFailed


class ToVerifier(NamedTuple):
    """A message for one verifier."""

    verifier: int  # index in the host's list
    message: FromDrafter


class Disconnect(NamedTuple):
    """The link to this verifier is to be closed at once; its loss is then reported as any other."""

    verifier: int  # index in the host's list
    reason: str


class Decision(Struct, frozen=True, gc=False):
    """In order: messages to be sent, news to be told; then links to be closed."""

    messages: tuple[ToVerifier, ...] = ()
    news: tuple[StreamEvent, ...] = ()
    hang_ups: tuple[Disconnect, ...] = ()


class Dial(Struct, frozen=True):
    """Which verifier to dial, and when."""

    verifier: int  # index in the host's list
    at: float


class StreamOpened(Struct, frozen=True):
    """The draft engine is to open a stream."""

    stream: StreamKey
    tokens: tuple[int, ...]
    sampling: Sampling


class StreamCommitted(Struct, frozen=True, gc=False):
    """The draft engine is to commit the target's own tokens."""

    stream: StreamKey
    tokens: tuple[int, ...]


class StreamClosed(Struct, frozen=True):
    """The draft engine is to close a stream."""

    stream: StreamKey


EngineUpdate = StreamOpened | StreamCommitted | StreamClosed


class DraftWork(Struct, frozen=True, gc=False):
    """What the draft engine is to hear, in order, and then to draft (perhaps nothing)."""

    notes: Sequence[EngineUpdate]
    requests: Sequence[DraftRequest]

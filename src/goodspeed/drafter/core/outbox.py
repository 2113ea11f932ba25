"""The drafter core's outputs: messages for verifiers, events for users, updates for the draft engine."""

from typing import NamedTuple

from msgspec import Struct

from goodspeed.decoding.draft import StreamKey
from goodspeed.decoding.logprobs import TopTokens
from goodspeed.drafter.core.engine_updates import EngineUpdate
from goodspeed.errors import GoodSpeedError
from goodspeed.protocol.messages import FinishReason, FromDrafter, RoundMode


class Round(Struct, frozen=True, gc=False):
    """The result and the cost of one round of a stream."""

    num_proposed: int
    """Draft tokens that the drafter has proposed."""
    num_accepted: int
    """Proposed tokens that were right."""
    grant: int
    """Draft tokens that the verifier grants for the next round."""
    queue_s: float
    verify_s: float
    drafting_s: float = 0.0
    rtt_s: float | None = None
    """Time from proposal to verdict, without queueing and verification; None if there was no proposal."""
    baseline_s: float | None = None
    """In the last round, if it is known: the verifier's estimate of its target-only time for the whole stream."""
    elapsed_s: float | None = None
    """In the last round, beside baseline_s: the time that the stream took at the verifier."""
    mode: RoundMode | None = None
    """Which drafts it had; None: the round of the prompt, which cannot have any."""
    num_co_located: int = 0
    """Draft tokens of its own that the verifier has verified."""
    num_co_located_accepted: int = 0
    """Draft tokens of the verifier's own that were committed."""
    num_cached: int = 0
    """In the round of the prompt: tokens of it that the verifier had in its prefix cache."""
    num_mode_changes: int = 0
    """In the last round: how often the window policy has changed the mode of the stream."""


class TokensCommitted(Struct, frozen=True, gc=False):
    """A verdict has committed tokens of the answer; with a finish reason the answer is complete."""

    stream: StreamKey
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    """One per token if the request has logprobs set, else empty."""
    finish: FinishReason
    round: Round
    verifier: int
    """Index of the verifier that sent the verdict."""
    top_logprobs: tuple[TopTokens, ...] = ()
    """One per token if the request has top_logprobs set, else empty."""
    prompt_logprobs: tuple[float, ...] = ()
    """With the first tokens, if the request has prompt_logprobs set: one per token of the prompt but the first."""
    prompt_top_logprobs: tuple[TopTokens, ...] = ()


class StreamFailed(Struct, frozen=True):
    """The stream has ended before its answer was complete."""

    stream: StreamKey
    error: GoodSpeedError


StreamEvent = TokensCommitted | StreamFailed


class ToVerifier(NamedTuple):
    """A message and the index of the verifier that gets it."""

    verifier: int
    message: FromDrafter


class Disconnect(NamedTuple):
    """The host must close the link to this verifier, and report its loss like that of any other link."""

    verifier: int
    reason: str


class Outbox:
    """What the core has decided and its host has not carried out yet; each list is in order.

    The host takes `messages` and sends them, passes `events` on to users, then closes the links of `disconnects`. The
    core itself hands `engine_updates` out with the next DraftWork.
    """

    def __init__(self) -> None:
        self.messages: list[ToVerifier] = []
        self.events: list[StreamEvent] = []
        self.disconnects: list[Disconnect] = []
        self.engine_updates: list[EngineUpdate] = []

    def mark(self) -> tuple[int, int, int]:
        """Lengths of `messages`, `events` and `disconnects`: what comes after them is new."""
        return len(self.messages), len(self.events), len(self.disconnects)

    def take_messages(self) -> list[ToVerifier]:
        messages, self.messages = self.messages, []
        return messages

    def take_events(self) -> list[StreamEvent]:
        events, self.events = self.events, []
        return events

    def take_disconnects(self) -> list[Disconnect]:
        disconnects, self.disconnects = self.disconnects, []
        return disconnects

    def take_engine_updates(self) -> list[EngineUpdate]:
        updates, self.engine_updates = self.engine_updates, []
        return updates

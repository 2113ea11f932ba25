"""A verifier that chooses modes, grants and co-located drafts at random: every verdict that the protocol allows."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from goodspeed.decoding.mode import Mode
from goodspeed.engine.interface import Outcome, Prefill, Verify
from goodspeed.engine.toy_model import ToyModel
from goodspeed.engine.toy_target import ToyTarget
from goodspeed.errors import ProtocolError
from goodspeed.protocol.messages import (
    PROTOCOL_VERSION,
    Cancel,
    ChangeMode,
    Error,
    Hello,
    Message,
    Open,
    Opened,
    Propose,
    ShadowDraft,
    Welcome,
)
from goodspeed.protocol.session import RepeatedProposal, VerifierStream
from goodspeed.scheduling.policies import ESTIMATORS
from goodspeed.testing.virtual_drafter import VirtualClock
from goodspeed.verifier.core.client import Client
from goodspeed.verifier.core.shadow_drafts import ShadowDrafts

STEP_S = 0.01
StreamMessage = Propose | ShadowDraft | ChangeMode | Cancel


class CountingClient(Client):
    """A client that keeps what shadow drafts have shown: (num_granted, num_accepted)."""

    def __init__(self) -> None:
        super().__init__("drafter", ESTIMATORS["adaptive_survival"](0.1, 0.05))
        self.evidence: list[tuple[int, int]] = []

    def on_shadow_draft(self, num_granted: int, num_accepted: int) -> None:
        super().on_shadow_draft(num_granted, num_accepted)
        self.evidence.append((num_granted, num_accepted))


@dataclass
class SwitchingStream:
    """A stream in one epoch."""

    key: int
    protocol: VerifierStream
    send: Callable[[Message], None]
    proposal: Propose | None = None
    is_prefilled: bool = False
    shadows: ShadowDrafts = field(init=False)

    def __post_init__(self) -> None:
        self.shadows = ShadowDrafts(self.protocol.request.sampling)


class SwitchingVerifier:
    """Serves one drafter, in virtual time, each stream in steps of its own; the text is the toy target's."""

    def __init__(self, clock: VirtualClock, seed: int) -> None:
        self.engine = ToyTarget()
        self.client = CountingClient()
        self.is_alive = True
        self.num_shadows_requested = 0
        self.num_co_located = 0
        self.num_mode_changes = 0
        self._clock = clock
        self._rng = np.random.default_rng(seed)
        self._streams: dict[int, SwitchingStream] = {}
        self._handlers: dict[int, Callable[[Message], None]] = {}
        self._ids = itertools.count(1)
        info = self.engine.info
        limits = (info.vocab_size, info.max_context, 64, 8, info.end_tokens)
        self._welcome = Welcome(PROTOCOL_VERSION, "verifier", "toy", info.model_fingerprint, *limits)

    def connect(self, handler: Callable[[Message], None]) -> int:
        conn = next(self._ids)
        self._handlers[conn] = handler
        return conn

    def disconnect(self, conn: int) -> None:
        del self._handlers[conn]
        for stream in list(self._streams.values()):
            self._drop(stream)

    def receive(self, conn: int, message: Message) -> None:
        """The drafter's next message; an error ends its stream."""
        send = self._handlers[conn]
        if isinstance(message, Hello):
            send(self._welcome)
        elif isinstance(message, Open):
            self._on_open(message, send)
        elif isinstance(message, StreamMessage) and (stream := self._streams.get(message.stream)):
            try:
                self._on_message(stream, message)
            except ProtocolError as error:
                send(Error(error.code, str(error), message.stream, message.epoch))
                self._drop(stream)

    def _on_open(self, request: Open, send: Callable[[Message], None]) -> None:
        if older := self._streams.get(request.stream):
            self._drop(older)
        stream = SwitchingStream(next(self._ids), VerifierStream(request, self._welcome), send)
        self._streams[request.stream] = stream
        self.engine.open(stream.key, stream.protocol.spec())
        send(Opened(request.stream, request.epoch))
        self._step_later(stream)

    def _on_message(self, stream: SwitchingStream, message: StreamMessage) -> None:
        if isinstance(message, Cancel):
            self._drop(stream)
        elif isinstance(message, ChangeMode):
            self.num_mode_changes += message.mode is not stream.protocol.mode
            stream.protocol.change_mode(message.mode)
            stream.shadows = ShadowDrafts(stream.protocol.request.sampling)
        elif isinstance(message, ShadowDraft):
            committed, vocab_size = stream.protocol.committed, self.engine.info.vocab_size
            stream.shadows.on_shadow_draft(message, self.client, committed, vocab_size, self._clock.now)
        elif not isinstance(stream.protocol.on_propose(message), RepeatedProposal):
            stream.proposal = message
            self._step_later(stream)

    def _drop(self, stream: SwitchingStream) -> None:
        del self._streams[stream.protocol.request.stream]
        self.engine.close(stream.key)

    def _step_later(self, stream: SwitchingStream) -> None:
        self._clock.after(STEP_S * self._rng.random(), lambda: self._step(stream))

    def _step(self, stream: SwitchingStream) -> None:
        protocol = stream.protocol
        if self._streams.get(protocol.request.stream) is not stream:
            return
        if stream.is_prefilled:
            work = self._work(stream)
            (outcome,) = self.engine.step([work])
            self._conclude(stream, outcome, work.draft_tokens)
        else:
            stream.is_prefilled = True
            (outcome,) = self.engine.step([Prefill(stream.key, len(protocol.request.tokens))])
            self._conclude(stream, outcome, ())

    def _work(self, stream: SwitchingStream) -> Verify:
        """Some of the proposed tokens, followed by some of the verifier's own, which are right more often than not."""
        proposal, protocol = stream.proposal, stream.protocol
        if proposal and proposal.draft_probs:  # a drawn proposal stands alone
            length = int(self._rng.integers(0, len(proposal.tokens) + 1))
            return Verify(stream.key, proposal.tokens[:length], proposal.draft_probs[:length])
        proposed = proposal.tokens if proposal else ()
        draft = list(proposed[: self._rng.integers(0, len(proposed) + 1)])
        request = protocol.request
        longest = request.num_prompt + request.max_tokens - len(protocol.committed) - 1
        num_own = 0 if protocol.mode is Mode.TARGET_ONLY else self._rng.integers(0, 5)
        for _ in range(min(num_own, longest - len(draft))):
            token = ToyModel().choice([*protocol.committed, *draft], request.sampling)
            draft.append(token if self._rng.random() < 0.7 else (token + 1) % self.engine.info.vocab_size)
        return Verify(stream.key, tuple(draft))

    def _conclude(self, stream: SwitchingStream, outcome: Outcome, draft_tokens: tuple[int, ...]) -> None:
        protocol, now = stream.protocol, self._clock.now
        protocol.on_outcome(outcome, draft_tokens)
        grant = int(self._rng.choice([0, 0, 0, 2, 5]))
        is_replaced = not stream.shadows.is_awaited or self._rng.random() < 0.1
        shadow = int(self._rng.choice([0, 0, 1, 4])) if is_replaced else 0
        verdict = protocol.make_verdict(grant, 0.0, STEP_S, shadow=shadow)
        self.num_shadows_requested += verdict.shadow > 0
        self.num_co_located += len(verdict.co_located_tokens)
        stream.proposal = None
        stream.shadows.on_verdict(verdict, self.client, protocol.committed, now)
        stream.send(verdict)
        if protocol.is_finished:
            self._drop(stream)
        elif protocol.is_local:
            self._step_later(stream)

"""A drafter core, verifier cores, toy engines and links that can be cut, in virtual time."""

import heapq
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import numpy as np

from goodspeed.drafter.core.core import DrafterCore
from goodspeed.drafter.core.core_config import DrafterCoreConfig
from goodspeed.drafter.core.engine_updates import DraftWork, StreamCommitted, StreamOpened, apply_updates
from goodspeed.drafter.core.outbox import StreamEvent, StreamFailed
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.engine.interface import DraftEngine, StreamSpec
from goodspeed.engine.toy_draft import ToyDraft
from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.errors import GoodSpeedError
from goodspeed.protocol.messages import (
    PROTOCOL_VERSION,
    Error,
    FinishReason,
    FromDrafter,
    FromVerifier,
    Hello,
    Message,
    Refused,
    Welcome,
)
from goodspeed.testing.toy_text import toy_answer
from goodspeed.verifier.core.batch import Batch
from goodspeed.verifier.core.core import VerifierCore
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.step import run_batch


def target_only_tokens(request: GenerationRequest) -> list[int]:
    """The answer of the toy target without drafts."""
    capacity = len(request.tokens) + request.max_tokens
    return toy_answer(StreamSpec(request.tokens, request.sampling, capacity, end_tokens=request.end_tokens))


class VirtualClock:
    """The present time and a queue of future actions."""

    def __init__(self) -> None:
        self.now = 100.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + max(0.0, delay_s), next(self._order), action))

    def run(self, seconds: float) -> None:
        """Advance the time and run the actions that become due."""
        end = self.now + seconds
        while self._events and self._events[0][0] <= end:
            self.now, _, action = heapq.heappop(self._events)
            action()
        self.now = end


class ReachableVerifier(Protocol):
    """What a virtual drafter connects to."""

    is_alive: bool

    def connect(self, handler: Callable[[Message], None]) -> int:
        """The number of the connection, whose messages `handler` gets."""

    def receive(self, conn: int, message: Message) -> None:
        """The drafter's next message."""

    def disconnect(self, conn: int) -> None:
        """The connection is lost."""


class ToyVerifier:
    """A verifier core with a toy target whose step takes 10 ms; while `is_deaf` it ignores all messages."""

    def __init__(
        self, clock: VirtualClock, config: VerifierCoreConfig | None = None, engine: ToyTarget | None = None
    ) -> None:
        self.engine = engine or ToyTarget(toy_info())
        self.core = VerifierCore(config or VerifierCoreConfig(), self.engine.info)
        self.is_alive = True
        self.is_deaf = False
        self.step_s = 0.01
        self._clock = clock
        self._handlers: dict[int, Callable[[Message], None]] = {}
        self._conns = itertools.count(1)
        self._is_stepping = False

    def connect(self, handler: Callable[[Message], None]) -> int:
        conn = next(self._conns)
        self._handlers[conn] = handler
        self.core.on_connect(conn, self._clock.now)
        return conn

    def receive(self, conn: int, message: Message) -> None:
        if self.is_alive and not self.is_deaf and conn in self._handlers:
            self._reply(self.core.on_message(conn, message, self._clock.now))

    def disconnect(self, conn: int) -> None:
        if self._handlers.pop(conn, None):
            self._reply(self.core.on_disconnect(conn, self._clock.now))

    def _reply(self, replies: Sequence[tuple[int, Message]]) -> None:
        for conn, message in replies:
            if conn in self._handlers:
                self._handlers[conn](message)
        self._clock.after(0.0, self._poll)

    def _poll(self) -> None:
        if self._is_stepping or not self.is_alive:
            return
        batch = self.core.next_batch(self._clock.now)
        if batch is None:
            if (wake_at := self.core.wake_at()) is not None:
                self._clock.after(wake_at - self._clock.now, self._on_time)
            return
        self._is_stepping = True
        started = self._clock.now
        self._clock.after(self.step_s, lambda: self._on_stepped(batch, started))

    def _on_time(self) -> None:
        if self.is_alive:
            self._reply(self.core.on_time(self._clock.now))

    def _on_stepped(self, batch: Batch, started: float) -> None:
        result = run_batch(self.engine, batch)
        self._is_stepping = False
        self._reply(self.core.on_verified(batch, result, started, self._clock.now))


@dataclass
class ReceivedAnswer:
    """What the user of one stream has received."""

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish: FinishReason = FinishReason.NONE
    error: GoodSpeedError | None = None
    num_rounds: int = 0
    num_proposed: int = 0
    num_accepted: int = 0

    def add(self, event: StreamEvent) -> None:
        assert not self.finish, "an event after the end"
        assert self.error is None, "an event after the end"
        if isinstance(event, StreamFailed):
            self.error = event.error
            return
        self.tokens.extend(event.tokens)
        self.logprobs.extend(event.logprobs)
        self.finish = event.finish
        self.num_rounds += 1
        self.num_proposed += event.round.num_proposed
        self.num_accepted += event.round.num_accepted


class VirtualDrafterHost:
    """Hosts a drafter core and its draft engine; `engine_log` has the tokens that the engine got, by stream."""

    def __init__(
        self,
        clock: VirtualClock,
        verifiers: Sequence[ReachableVerifier],
        config: DrafterCoreConfig | None = None,
        core: DrafterCore | None = None,
    ) -> None:
        config = config or DrafterCoreConfig(num_verifiers=len(verifiers))
        self.engine: DraftEngine = ToyDraft(0.7)
        self.core = core or DrafterCore(config, np.random.default_rng(0))
        self.received: dict[int, ReceivedAnswer] = {}
        self.sent: list[FromDrafter] = []
        self.engine_log: dict[int, list[int]] = {}
        self.latency_s: Callable[[], float] = lambda: 0.005
        self.drafting_s = 0.001
        self.drafting_s_per_token = 0.0
        self._clock = clock
        self._verifiers = verifiers
        self._conns: dict[int, int] = {}  # by verifier
        self._dialled: set[int] = set()
        self._wake_at: float | None = None
        self._last_arrival = 0.0  # in either direction: no message overtakes another
        self._dial()

    def open(self, request: GenerationRequest) -> int:
        key = self.core.open(request, self._clock.now)
        self.received[key] = ReceivedAnswer()
        self._settle()
        return key

    def cancel(self, key: int) -> None:
        self.core.cancel(key, self._clock.now)
        self._settle()

    def cut(self, reason: str = "cut", verifier: int | None = None) -> None:
        """Break the link to the verifier (None: every link); messages that are under way are lost."""
        for index in list(self._conns) if verifier is None else [verifier]:
            if index in self._conns:
                self._verifiers[index].disconnect(self._conns.pop(index))
                self._on_lost(index, reason)

    def receive(self, message: FromVerifier, verifier: int = 0) -> None:
        """Act as if the verifier had sent this message."""
        self.core.on_message(verifier, message, self._clock.now)
        self._settle()

    def _dial(self) -> None:
        for dial in self.core.dials:
            if dial.verifier not in self._dialled:
                self._dialled.add(dial.verifier)
                self._clock.after(dial.at - self._clock.now, partial(self._connect, dial.verifier))

    def _on_lost(self, index: int, reason: str) -> None:
        self._dialled.remove(index)
        self.core.on_link_lost(index, reason, self._clock.now)
        self._settle()
        self._dial()

    def _connect(self, index: int) -> None:
        verifier = self._verifiers[index]
        if not verifier.is_alive:
            self._on_lost(index, "no answer")
            return
        conn = verifier.connect(lambda message: self._travel(index, conn, lambda: self._on_message(index, message)))
        self._conns[index] = conn
        verifier.receive(conn, Hello(PROTOCOL_VERSION, "drafter", "toy"))

    def _travel(self, index: int, conn: int, on_arrival: Callable[[], None]) -> None:
        """Deliver a message after the latency, unless the link is cut before."""
        self._last_arrival = max(self._last_arrival, self._clock.now + self.latency_s())
        delay_s = self._last_arrival - self._clock.now
        self._clock.after(delay_s, lambda: on_arrival() if self._conns.get(index) == conn else None)

    def _on_message(self, index: int, message: Message) -> None:
        if isinstance(message, Welcome):
            self.core.on_link_up(index, message, self._clock.now)
        else:
            assert isinstance(message, FromVerifier)
            self.core.on_message(index, message, self._clock.now)
        self._settle()
        if isinstance(message, Refused) or (isinstance(message, Error) and message.stream is None):
            self.cut(message.reason, index)

    def _settle(self) -> None:
        """Carry out what the core has decided."""
        outbox = self.core.outbox
        for verifier, message in outbox.take_messages():
            self._send(verifier, message)
        for event in outbox.take_events():
            self.received[event.stream].add(event)
        for verifier, reason in outbox.take_disconnects():
            self.cut(reason, verifier)
        if work := self.core.next_drafts():
            longest = max((request.max_tokens for request in work.requests), default=0)
            drafting_s = self.drafting_s + longest * self.drafting_s_per_token
            self._clock.after(drafting_s, lambda: self._draft(work, drafting_s))
        wake_at = self.core.wake_at()
        if wake_at is not None and (self._wake_at is None or wake_at < self._wake_at):
            self._wake_at = wake_at
            self._clock.after(wake_at - self._clock.now, self._on_time)

    def _on_time(self) -> None:
        self._wake_at = None
        self.core.on_time(self._clock.now)
        self._settle()

    def _send(self, index: int, message: FromDrafter) -> None:
        self.sent.append(message)
        assert index in self._conns, f"{message} without a link"
        verifier, conn = self._verifiers[index], self._conns[index]
        self._travel(index, conn, lambda: verifier.receive(conn, message))

    def _draft(self, work: DraftWork, drafting_s: float) -> None:
        apply_updates(self.engine, work.updates)
        for update in work.updates:
            if isinstance(update, StreamOpened):
                self.engine_log[update.stream] = list(update.tokens)
            elif isinstance(update, StreamCommitted):
                self.engine_log[update.stream].extend(update.tokens)
        drafts = self.engine.draft(work.requests)
        self.core.on_drafted(drafts, drafting_s, self._clock.now)
        self._settle()

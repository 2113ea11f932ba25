"""A drafter's core and real verifier cores, toy engines and links that can be cut, in virtual time."""

import heapq
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from goodspeed.decoding.draft import DraftRequest
from goodspeed.drafter.core.core import DrafterCore
from goodspeed.drafter.core.core_config import DrafterCoreConfig
from goodspeed.drafter.core.decisions import (
    Decision,
    DraftWork,
    StreamCommitted,
    StreamFailed,
    StreamOpened,
    TokensCommitted,
)
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.engine.interface import DraftEngine
from goodspeed.engine.toy_draft import ToyDraft
from goodspeed.engine.toy_model import ToyModel
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
from goodspeed.verifier.core.batch import Batch
from goodspeed.verifier.core.core import VerifierCore
from goodspeed.verifier.core.core_config import VerifierCoreConfig


def target_only_tokens(request: GenerationRequest) -> list[int]:
    """The answer as the toy target writes it by itself."""
    tokens = list(request.tokens)
    for _ in range(request.max_tokens):
        tokens.append(ToyModel().choice(tokens, request.sampling))
        if tokens[-1] in request.end_tokens:
            break
    return tokens[len(request.tokens) :]


class VirtualClock:
    """Time, and what is to happen in it."""

    def __init__(self) -> None:
        self.now = 100.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + max(0.0, delay_s), next(self._order), action))

    def run(self, seconds: float) -> None:
        """Let this much time pass."""
        end = self.now + seconds
        while self._events and self._events[0][0] <= end:
            self.now, _, action = heapq.heappop(self._events)
            action()
        self.now = end


class ToyVerifier:
    """A verifier's core with a toy target, a step of 10 ms; `is_deaf` makes it swallow what it is told."""

    def __init__(
        self, clock: VirtualClock, config: VerifierCoreConfig | None = None, engine: ToyTarget | None = None
    ) -> None:
        self.engine = engine or ToyTarget(toy_info())
        self.core = VerifierCore(config or VerifierCoreConfig(), self.engine.info)
        self.is_alive = True
        self.is_deaf = False
        self.step_s = 0.01
        self._world = clock
        self._handlers: dict[int, Callable[[Message], None]] = {}
        self._conns = itertools.count(1)
        self._is_stepping = False

    def connect(self, handler: Callable[[Message], None]) -> int:
        conn = next(self._conns)
        self._handlers[conn] = handler
        self.core.on_connect(conn, self._world.now)
        return conn

    def tell(self, conn: int, message: Message) -> None:
        if self.is_alive and not self.is_deaf and conn in self._handlers:
            self._reply(self.core.on_message(conn, message, self._world.now))

    def disconnect(self, conn: int) -> None:
        if self._handlers.pop(conn, None):
            self._reply(self.core.on_disconnect(conn, self._world.now))

    def _reply(self, replies: Sequence[tuple[int, Message]]) -> None:
        for conn, message in replies:
            if conn in self._handlers:
                self._handlers[conn](message)
        self._world.after(0.0, self._poll)

    def _poll(self) -> None:
        if self._is_stepping or not self.is_alive:
            return
        batch = self.core.next_batch(self._world.now)
        if batch is None:
            if (wake_at := self.core.wake_at()) is not None:
                self._world.after(wake_at - self._world.now, self._on_time)
            return
        self._is_stepping = True
        started = self._world.now
        self._world.after(self.step_s, lambda: self._on_stepped(batch, started))

    def _on_time(self) -> None:
        if self.is_alive:
            self._reply(self.core.on_time(self._world.now))

    def _on_stepped(self, batch: Batch, started: float) -> None:
        for closed in batch.closed:
            self.engine.close(closed)
        for key, spec in batch.opened:
            self.engine.open(key, spec)
        outcomes = self.engine.step(batch.work) if batch.work else []
        self._is_stepping = False
        self._reply(self.core.on_verified(batch, outcomes, started, self._world.now))


@dataclass
class ReceivedAnswer:
    """What the user of one stream was told."""

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish: FinishReason = FinishReason.NONE
    error: GoodSpeedError | None = None
    num_rounds: int = 0
    num_proposed: int = 0
    num_accepted: int = 0


class VirtualDrafter:
    """Hosts a drafter's core and its draft engine; `engine_log` has what the engine was told of each stream."""

    def __init__(
        self,
        clock: VirtualClock,
        verifiers: Sequence[ToyVerifier],
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
        self._world = clock
        self._verifiers = verifiers
        self._conns: dict[int, int] = {}  # by verifier
        self._dialled: set[int] = set()
        self._wake_at: float | None = None
        self._arrival = 0.0  # of what was sent last, in each direction: nothing overtakes anything
        self._dial()

    def open(self, request: GenerationRequest) -> int:
        key, decision = self.core.open(request, self._world.now)
        self.received[key] = ReceivedAnswer()
        self._do(decision)
        return key

    def cancel(self, key: int) -> None:
        self._do(self.core.cancel(key, self._world.now))

    def cut(self, reason: str = "cut", verifier: int | None = None) -> None:
        """The link to the verifier (None: every link) is gone, with whatever is on its way."""
        for index in list(self._conns) if verifier is None else [verifier]:
            if index in self._conns:
                self._verifiers[index].disconnect(self._conns.pop(index))
                self._on_lost(index, reason)

    def receive(self, message: FromVerifier, verifier: int = 0) -> None:
        """As if the verifier had said it."""
        self._do(self.core.on_message(verifier, message, self._world.now))

    def _dial(self) -> None:
        for dial in self.core.dials:
            if dial.verifier not in self._dialled:
                self._dialled.add(dial.verifier)
                self._world.after(dial.at - self._world.now, partial(self._connect, dial.verifier))

    def _on_lost(self, index: int, reason: str) -> None:
        self._dialled.remove(index)
        self._do(self.core.on_link_lost(index, reason, self._world.now))
        self._dial()

    def _connect(self, index: int) -> None:
        verifier = self._verifiers[index]
        if not verifier.is_alive:
            self._on_lost(index, "nobody answers")
            return
        conn = verifier.connect(lambda message: self._travel(index, conn, lambda: self._on_message(index, message)))
        self._conns[index] = conn
        verifier.tell(conn, Hello(PROTOCOL_VERSION, "drafter", "toy"))

    def _travel(self, index: int, conn: int, arrive: Callable[[], None]) -> None:
        """Unless the link is cut on the way."""
        self._arrival = max(self._arrival, self._world.now + self.latency_s())
        delay_s = self._arrival - self._world.now
        self._world.after(delay_s, lambda: arrive() if self._conns.get(index) == conn else None)

    def _on_message(self, index: int, message: Message) -> None:
        if isinstance(message, Welcome):
            self._do(self.core.on_link_up(index, message, self._world.now))
        else:
            assert isinstance(message, FromVerifier)
            self._do(self.core.on_message(index, message, self._world.now))
        if isinstance(message, Refused) or (isinstance(message, Error) and message.stream is None):
            self.cut(message.reason, index)

    def _do(self, decision: Decision) -> None:
        for verifier, message in decision.messages:
            self._send(verifier, message)
        for news in decision.news:
            self._on_event(news)
        for verifier, reason in decision.hang_ups:
            self.cut(reason, verifier)
        if work := self.core.next_drafts():
            self._world.after(self.drafting_s, lambda: self._draft(work))
        wake_at = self.core.wake_at()
        if wake_at is not None and (self._wake_at is None or wake_at < self._wake_at):
            self._wake_at = wake_at
            self._world.after(wake_at - self._world.now, self._on_time)

    def _on_time(self) -> None:
        self._wake_at = None
        self._do(self.core.on_time(self._world.now))

    def _send(self, index: int, message: FromDrafter) -> None:
        self.sent.append(message)
        assert index in self._conns, f"{message} without a link"
        verifier, conn = self._verifiers[index], self._conns[index]
        self._travel(index, conn, lambda: verifier.tell(conn, message))

    def _on_event(self, news: TokensCommitted | StreamFailed) -> None:
        answer = self.received[news.stream]
        assert not answer.finish, "news after the end"
        assert answer.error is None, "news after the end"
        if isinstance(news, StreamFailed):
            answer.error = news.error
            return
        answer.tokens.extend(news.tokens)
        answer.logprobs.extend(news.logprobs)
        answer.finish = news.finish
        answer.num_rounds += 1
        answer.num_proposed += news.round.num_proposed
        answer.num_accepted += news.round.num_accepted

    def _draft(self, work: DraftWork) -> None:
        for note in work.notes:
            if isinstance(note, StreamOpened):
                self.engine.open(note.stream, note.tokens, note.sampling)
                self.engine_log[note.stream] = list(note.tokens)
            elif isinstance(note, StreamCommitted):
                self.engine.commit(note.stream, note.tokens)
                self.engine_log[note.stream].extend(note.tokens)
            else:
                self.engine.close(note.stream)
        drafts = self.engine.draft([DraftRequest(r.stream, r.max_tokens, r.min_survival) for r in work.requests])
        self._do(self.core.on_drafted(drafts, self.drafting_s, self._world.now))

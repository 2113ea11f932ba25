"""A verifier's core with a toy engine, and toy drafters, in virtual time: no clock, sockets or threads."""

import heapq
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from msgspec import structs

from goodspeed.decoding.draft import Draft, DraftRequest
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.interface import CoLocatedDrafts, DraftEngine, StreamSpec, TargetEngine, TargetInfo
from goodspeed.engine.toy_draft import ToyDraft
from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.protocol.messages import PROTOCOL_VERSION, Error, Hello, Message, Open, Opened, Verdict
from goodspeed.protocol.session import DrafterStream
from goodspeed.records.event_log import EventSink, NullEventSink
from goodspeed.testing.toy_text import toy_answer
from goodspeed.verifier.core.batch import Batch, StepResult
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.event_logging import LoggedVerifierCore
from goodspeed.verifier.step import run_batch

GREEDY = Sampling()


def hello(name: str, tokenizer_fingerprint: str = "toy") -> Hello:
    return Hello(PROTOCOL_VERSION, name, tokenizer_fingerprint)


def open_request(
    stream: int, prompt: Sequence[int] = (5, 6, 7), max_tokens: int = 20, sampling: Sampling = GREEDY
) -> Open:
    return Open(stream, 0, tuple(prompt), len(prompt), max_tokens, sampling, end_tokens=())


def target_only_text(request: Open) -> list[int]:
    """Prompt and answer as the toy target generates them without drafts."""
    prompt = request.tokens[: request.num_prompt]
    capacity = len(prompt) + request.max_tokens
    return [*prompt, *toy_answer(StreamSpec(prompt, request.sampling, capacity, end_tokens=request.end_tokens))]


def unlimited_info() -> TargetInfo:
    """A target with KV memory for streams that never end."""
    return toy_info(max_context=10**6, kv_capacity=10**9)


@dataclass(frozen=True, slots=True)
class VirtualEngines:
    """What a virtual verifier computes with."""

    target: TargetEngine
    co_located: CoLocatedDrafts | None = None
    drafting_s: float = 0.0
    """Per co-located draft token."""


class VirtualVerifier:
    """Core and engine. Each link has a list of the messages that it received, or a handler that gets them."""

    def __init__(
        self,
        config: VerifierCoreConfig | None = None,
        info: TargetInfo | None = None,
        step_s: Callable[[int], float] = lambda num_tokens: 0.010 + 0.001 * num_tokens,
        events: EventSink | None = None,
        engines: VirtualEngines | None = None,
    ) -> None:
        self.now = 100.0
        self.engine = ToyTarget(info or toy_info())
        self._engines = engines or VirtualEngines(self.engine)
        config = config or VerifierCoreConfig()
        if self._engines.co_located is None:
            config = replace(config, co_located_tokens=0)
        self.core = LoggedVerifierCore(config, self._engines.target.info, events or NullEventSink(), self.now)
        self.batches: list[Batch] = []
        self.steps: list[StepResult] = []
        self.received: dict[int, list[Message]] = {}
        self._step_s = step_s
        self._handlers: dict[int, Callable[[Message], None]] = {}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._conns = itertools.count(1)
        self._is_stepping = False

    def connect(self, handler: Callable[[Message], None] | None = None, names: frozenset[str] | None = None) -> int:
        conn = next(self._conns)
        self.received[conn] = []
        self._handlers[conn] = handler or self.received[conn].append
        self.core.on_connect(conn, self.now, names)
        return conn

    def welcome(self, name: str) -> int:
        """A link whose Hello was accepted; the answer is discarded."""
        conn = self.connect()
        self.deliver(conn, hello(name))
        self.received[conn].clear()
        return conn

    def deliver(self, conn: int, message: Message) -> list[Message]:
        """Deliver a message to the core. Returns what this link has received since the last call."""
        self._send(self.core.on_message(conn, message, self.now))
        return self.take(conn)

    def take(self, conn: int) -> list[Message]:
        received = list(self.received[conn])
        self.received[conn].clear()
        return received

    def revoke(self, conn: int) -> None:
        self._send(self.core.on_revoked(conn, self.now))

    def disconnect(self, conn: int) -> None:
        self._send(self.core.on_disconnect(conn, self.now))

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + delay_s, next(self._order), action))

    def run(self, seconds: float) -> None:
        """Let this much time pass."""
        end = self.now + seconds
        self._poll()
        while self._events and self._events[0][0] <= end:
            self.now, _, action = heapq.heappop(self._events)
            action()
            self._poll()
        self.now = end

    def step(self) -> StepResult | None:
        """Run one batch in no time, if the core closes one now."""
        batch = self.core.next_batch(self.now)
        if batch is None:
            return None
        result = self._run_engine(batch)
        self._finish(batch, result, self.now)
        return result

    def step_until_idle(self) -> None:
        while self.step():
            pass

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self._send(self.core.on_time(self.now))

    def _poll(self) -> None:
        if self._is_stepping:
            return
        batch = self.core.next_batch(self.now)
        if batch is not None:
            self._is_stepping = True
            result, started = self._run_engine(batch), self.now
            step_s = self._step_s(result.num_tokens) + result.drafting_s
            self.after(step_s, lambda: self._finish(batch, result, started))
        elif (wake_at := self.core.wake_at()) is not None and not any(time <= wake_at for time, _, _ in self._events):
            self.after(wake_at - self.now, lambda: self._send(self.core.on_time(self.now)))

    def _run_engine(self, batch: Batch) -> StepResult:
        self.batches.append(batch)
        engines = self._engines
        result = run_batch(engines.target, batch, engines.co_located)
        result = structs.replace(result, drafting_s=engines.drafting_s * sum(map(len, result.co_located)))
        self.steps.append(result)
        return result

    def _finish(self, batch: Batch, result: StepResult, started: float) -> None:
        self._is_stepping = False
        self._send(self.core.on_verified(batch, result, started, self.now))

    def _send(self, replies: Sequence[tuple[int, Message]]) -> None:
        for conn, message in replies:
            self._handlers[conn](message)


class VirtualDrafter:
    """Opens streams, and proposes what its engine drafts within the grant, after network_s and drafting_s per token.

    It answers requests for shadow drafts likewise.

    `texts` holds the tokens of finished streams by id and `last_verdicts` their last verdicts; then on_text is called.
    """

    def __init__(
        self,
        verifier: VirtualVerifier,
        name: str,
        drafts: float | DraftEngine,  # a number: the toy's acceptance rate
        network_s: Callable[[], float] = lambda: 0.002,
        drafting_s: float = 0.0,
    ) -> None:
        self.min_survival = 0.0
        self.on_text: Callable[[int], None] = lambda _stream: None
        self.texts: dict[int, list[int]] = {}
        self.last_verdicts: dict[int, Verdict] = {}
        self.errors: list[Error] = []
        self.num_committed = 0
        self._verifier = verifier
        self._drafts: DraftEngine = ToyDraft(drafts) if isinstance(drafts, float) else drafts
        self._network_s = network_s
        self._drafting_s = drafting_s
        self._streams: dict[int, DrafterStream] = {}
        self._drafted: set[int] = set()  # open in the draft engine
        self._conn = verifier.connect(self._on_message)
        verifier.deliver(self._conn, hello(name))

    def open(self, request: Open) -> None:
        self._streams[request.stream] = DrafterStream(request)
        self._verifier.deliver(self._conn, request)

    def disconnect(self) -> None:
        """Lose the link."""
        self._verifier.disconnect(self._conn)

    def reconnect(self, name: str) -> None:
        """Lose the link, connect again, and resume every stream."""
        self.disconnect()
        self._conn = self._verifier.connect(self._on_message)
        self._verifier.deliver(self._conn, hello(name))
        for stream_id, stream in self._streams.items():
            if stream_id in self._drafted:
                self._forget(stream_id)
            self._verifier.deliver(self._conn, stream.reopen())

    def _forget(self, stream_id: int) -> None:
        self._drafts.close(stream_id)
        self._drafted.remove(stream_id)

    def _on_message(self, message: Message) -> None:
        if isinstance(message, Opened):
            if message.stream in self._drafted:  # repeated while the stream is preempted
                return
            stream = self._streams[message.stream]
            self._drafts.open(message.stream, stream.committed, stream.opening.sampling)
            self._drafted.add(message.stream)
        elif isinstance(message, Verdict):
            self._on_verdict(self._streams[message.stream], message)
        elif isinstance(message, Error):
            self.errors.append(message)

    def _on_verdict(self, stream: DrafterStream, verdict: Verdict) -> None:
        committed = stream.on_verdict(verdict)
        self.num_committed += len(committed)
        self._drafts.commit(verdict.stream, committed)
        if verdict.finish:
            self.texts[verdict.stream] = list(stream.committed)
            self.last_verdicts[verdict.stream] = verdict
            self._forget(verdict.stream)
            del self._streams[verdict.stream]
            self.on_text(verdict.stream)
        elif stream.is_ready:
            conn, epoch = self._conn, stream.opening.epoch
            delay_s = self._network_s() + self._drafting_s * stream.max_draft
            self._verifier.after(delay_s, lambda: self._propose(conn, verdict.stream, epoch))
        elif stream.max_draft:
            conn, epoch, length = self._conn, stream.opening.epoch, stream.max_draft
            delay_s = self._network_s() + self._drafting_s * length
            self._verifier.after(delay_s, lambda: self._send_shadow(conn, epoch, verdict, length))

    def _propose(self, conn: int, stream_id: int, epoch: int) -> None:
        stream = self._current(conn, stream_id, epoch)
        if stream is not None:
            draft, drafting_s = self._draft(stream_id, stream.max_draft)
            self._verifier.deliver(self._conn, stream.propose(draft, drafting_s))

    def _send_shadow(self, conn: int, epoch: int, verdict: Verdict, length: int) -> None:
        stream = self._current(conn, verdict.stream, epoch)
        if stream is not None:
            draft, drafting_s = self._draft(verdict.stream, length)
            shadow = stream.shadow_draft(verdict.round, draft, len(stream.committed), drafting_s)
            self._verifier.deliver(self._conn, shadow)

    def _current(self, conn: int, stream_id: int, epoch: int) -> DrafterStream | None:
        """None: the stream has ended or was opened again."""
        stream = self._streams.get(stream_id)
        return stream if stream and conn == self._conn and stream.opening.epoch == epoch else None

    def _draft(self, stream_id: int, max_tokens: int) -> tuple[Draft, float]:
        """The draft and its drafting time."""
        draft = self._drafts.draft([DraftRequest(stream_id, max_tokens, self.min_survival)])[0]
        return draft, self._drafting_s * len(draft.tokens)

"""A draft server in virtual time: the live core, an engine whose drafts take their time, and a link to a verifier."""

from collections.abc import Sequence
from dataclasses import dataclass

from goodspeed.decoding.draft import Draft, DraftRequest, StreamKey
from goodspeed.drafter.core.core import DrafterCore
from goodspeed.drafter.core.decisions import (
    Decision,
    Disconnect,
    DraftWork,
    StreamEvent,
    StreamFailed,
    ToVerifier,
)
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.drafter.engine_updates import tell
from goodspeed.protocol.messages import Mode
from goodspeed.simulator.acceptance.acceptance_model import Tape
from goodspeed.simulator.answer_in_progress import Answering
from goodspeed.simulator.draft import TapedDraft
from goodspeed.simulator.environment import Surroundings
from goodspeed.simulator.kernel import Call, Event, time_ns
from goodspeed.simulator.placement import Seat
from goodspeed.simulator.target import RIGHT
from goodspeed.simulator.uplink import Uplink


@dataclass(frozen=True, slots=True)
class Parts:
    """What a drafter is made of."""

    core: DrafterCore
    engine: TapedDraft
    uplink: Uplink
    seat: Seat


class SimulatedDrafter:
    """Hosts a core as DrafterServer does, from `begin` on."""

    def __init__(self, around: Surroundings, client: str, parts: Parts, mode: Mode) -> None:
        self.uplink = parts.uplink
        self._client = client
        self._mode = mode
        self._kernel = around.kernel
        self._tally = around.tally
        self._trace = around.trace
        self._seat = parts.seat
        self._core = parts.core
        self._engine = parts.engine
        self._answers: dict[StreamKey, Answering] = {}
        self._outbox: tuple[ToVerifier, ...] = ()
        self._news: tuple[StreamEvent, ...] = ()
        self._hang_ups: tuple[Disconnect, ...] = ()
        self._free_at_s = 0.0  # when the device ended its last work
        self._timer: Event | None = None
        self._timer_at = 0.0

    @property
    def client(self) -> str:
        return self._client

    @property
    def has_met(self) -> bool:
        """Some verifier has said Welcome."""
        return self._core.welcome is not None

    def answer(self, answering: Answering, tape: Tape) -> None:
        """Have the request answered; some verifier must have been met, and be able to hold it."""
        self._seat.ask(Call(lambda: self._begin(answering, tape)))

    def _begin(self, answering: Answering, tape: Tape) -> None:
        ask = answering.ask
        request = GenerationRequest((RIGHT,) * ask.num_prompt_tokens, ask.num_answer_tokens, mode=self._mode)
        key, decision = self._core.open(request, self._kernel.now_s)
        self._answers[key] = answering
        self._engine.expect(key, tape, ask.num_prompt_tokens)
        self._trace.follow(self._client, key, answering.request)
        self.do(decision)
        self.settle()

    def begin(self) -> None:
        """Dial."""
        self.uplink.begin(self)

    def do(self, decision: Decision) -> None:
        """Take a decision; `settle` carries it out."""
        self._outbox += decision.messages
        self._news += decision.news
        self._hang_ups += decision.hang_ups

    def settle(self) -> None:
        """Draft, send and tell: first what the verifier waits for, then what users wait for."""
        if work := self._core.next_drafts():
            self._draft(work)
        if self._outbox:
            outbox, self._outbox = self._outbox, ()
            self.uplink.send(outbox)
        if self._news:
            news, self._news = self._news, ()
            for one in news:
                self._seat.tell(_Told(self, one))
        if self._hang_ups:
            hang_ups, self._hang_ups = self._hang_ups, ()
            for hang_up in hang_ups:
                self.uplink.hang_up(hang_up)
        self._arm()

    def _draft(self, work: DraftWork) -> None:
        """The device begins; it takes one piece of work at a time, and the core knows."""
        self._engine.pause_s = self._kernel.now_s - self._free_at_s
        tell(self._engine, work.notes)
        drafts = self._engine.draft(work.requests) if work.requests else []
        drafting_s = self._engine.take_drafting_s()
        self._seat.draft(drafting_s, _Drafted(self, work.requests, drafts, drafting_s))

    def on_drafted(self, requests: Sequence[DraftRequest], drafts: Sequence[Draft], drafting_s: float) -> None:
        """The device has ended its work."""
        self._free_at_s = self._kernel.now_s
        if self._trace.is_on:
            self._trace.on_drafted(self._client, [request.stream for request in requests], drafting_s)
        self.do(self._core.on_drafted(drafts, drafting_s, self._kernel.now_s))
        self.settle()

    def deliver(self, news: StreamEvent) -> None:
        """The user reads it."""
        answering = self._answers[news.stream]
        if isinstance(news, StreamFailed):
            self._tally.num_failed += 1
        else:
            self._tally.num_rounds += 1
            answering.add(news, self._kernel.now_s)
            if not news.finish:
                return
            welcome, is_fused = self._core.links[news.verifier].welcome, self._mode is Mode.TARGET_ONLY
            assert welcome is not None
            self._tally.answers.append(answering.record(welcome.verifier, is_fused, self._kernel.now_s))
        del self._answers[news.stream]
        answering.end()

    def _arm(self) -> None:
        """Have on_time called when the core wants it; a timer that comes too early asks again."""
        wake_at = self._core.wake_at()
        if wake_at is None or (self._timer and self._timer_at <= wake_at):
            return
        if self._timer:
            self._timer.cancel()
        self._timer_at = wake_at
        self._timer = self._kernel.at(max(self._kernel.now_ns, time_ns(wake_at)), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.do(self._core.on_time(self._kernel.now_s))
        self.settle()


class _Drafted(Event):
    """A drafter's device ends a piece of work."""

    __slots__ = ("_drafter", "_drafting_s", "_drafts", "_requests")

    def __init__(
        self,
        drafter: SimulatedDrafter,
        requests: Sequence[DraftRequest],
        drafts: Sequence[Draft],
        drafting_s: float,
    ) -> None:
        super().__init__()
        self._drafter = drafter
        self._requests = requests
        self._drafts = drafts
        self._drafting_s = drafting_s

    def happen(self) -> None:
        self._drafter.on_drafted(self._requests, self._drafts, self._drafting_s)


class _Told(Event):
    """A drafter's news reach the user."""

    __slots__ = ("_drafter", "_news")

    def __init__(self, drafter: SimulatedDrafter, news: StreamEvent) -> None:
        super().__init__()
        self._drafter = drafter
        self._news = news

    def happen(self) -> None:
        self._drafter.deliver(self._news)

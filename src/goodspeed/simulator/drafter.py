"""A drafter server in virtual time: the live core, a draft engine whose steps take time, and links to verifiers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from goodspeed.decoding.draft import Draft, DraftRequest, StreamKey
from goodspeed.decoding.mode import Mode
from goodspeed.decoding.sampling import Sampling
from goodspeed.drafter.core.core import DrafterCore
from goodspeed.drafter.core.engine_updates import DraftWork, apply_updates
from goodspeed.drafter.core.outbox import StreamEvent, StreamFailed
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.simulator.acceptance.acceptance_model import AnswerTraces
from goodspeed.simulator.answer_in_progress import AnswerInProgress
from goodspeed.simulator.co_located import ExpectedStream
from goodspeed.simulator.draft import SimulatedDraftEngine
from goodspeed.simulator.environment import Environment
from goodspeed.simulator.kernel import Call, Event, time_ns
from goodspeed.simulator.placement import CpuSlot
from goodspeed.simulator.target import END
from goodspeed.simulator.uplink import SimulatedUplink


@dataclass(frozen=True, slots=True)
class DrafterParts:
    """The parts that a simulated drafter is made of."""

    core: DrafterCore
    engine: SimulatedDraftEngine
    uplink: SimulatedUplink
    slot: CpuSlot


class SimulatedDrafter:
    """Runs a drafter core as DrafterServer does, from `start` on."""

    def __init__(self, environment: Environment, client: str, parts: DrafterParts, mode: Mode) -> None:
        self.uplink = parts.uplink
        self._client = client
        self._mode = mode
        self._kernel = environment.kernel
        self._counters = environment.counters
        self._tracer = environment.tracer
        self._expected_streams = environment.expected_streams
        self._slot = parts.slot
        self._core = parts.core
        self._engine = parts.engine
        self._answers: dict[StreamKey, AnswerInProgress] = {}
        self._idle_since_s = 0.0  # when the device finished its last work
        self._timer: Event | None = None
        self._timer_at = 0.0

    @property
    def client(self) -> str:
        return self._client

    @property
    def is_welcomed(self) -> bool:
        """Whether a verifier has sent Welcome."""
        return self._core.welcome is not None

    def start(self) -> None:
        """Open the connections to the verifiers."""
        self.uplink.start(self)

    def answer(self, answer: AnswerInProgress, traces: AnswerTraces) -> None:
        """Start to answer a request. Requires `is_welcomed`, and a request that fits the verifiers."""
        self._slot.accept_request(Call(lambda: self._open(answer, traces)))

    def flush(self) -> None:
        """Carry out the core's decisions: draft, send messages, deliver stream events, close connections.

        The verifier is served before users.
        """
        if work := self._core.next_drafts():
            self._draft(work)
        outbox = self._core.outbox
        if outbox.messages:
            self.uplink.send(outbox.take_messages())
        if outbox.events:
            for event in outbox.take_events():
                self._slot.deliver(_EventDelivered(self, event))
        if outbox.disconnects:
            for disconnect in outbox.take_disconnects():
                self.uplink.disconnect(disconnect)
        self._set_timer()

    def on_drafted(self, requests: Sequence[DraftRequest], drafts: Sequence[Draft], drafting_s: float) -> None:
        """Take the drafts that the device has finished."""
        self._idle_since_s = self._kernel.now_s
        if self._tracer.is_on:
            streams = [request.stream for request in requests]
            self._tracer.on_drafted(self._client, streams, drafting_s, self._core.is_drafting_ahead)
        self._core.on_drafted(drafts, drafting_s, self._kernel.now_s)
        self.flush()

    def deliver(self, event: StreamEvent) -> None:
        """The user receives a stream event."""
        answer = self._answers[event.stream]
        if isinstance(event, StreamFailed):
            self._counters.num_failed += 1
        else:
            self._counters.num_rounds += 1
            answer.add(event, self._kernel.now_s)
            if not event.finish:
                return
            welcome, is_target_only = self._core.links[event.verifier].welcome, self._mode is Mode.TARGET_ONLY
            assert welcome is not None
            self._counters.answers.append(answer.record(welcome.verifier, is_target_only, self._kernel.now_s))
        del self._answers[event.stream], self._counters.in_progress[answer.client, answer.request_number]
        self._expected_streams.forget(self._client, event.stream)
        answer.end()

    def _open(self, answer: AnswerInProgress, traces: AnswerTraces) -> None:
        num_prompt_tokens, num_answer_tokens = answer.request.num_prompt_tokens, answer.request.num_answer_tokens
        request = GenerationRequest(answer.prompt, num_answer_tokens, mode=self._mode)
        if answer.request.max_tokens:
            early = Sampling(seed=num_answer_tokens)
            request = replace(request, max_tokens=answer.request.max_tokens, sampling=early, end_tokens=(END,))
        key = self._core.open(request, self._kernel.now_s)
        self._answers[key] = answer
        self._engine.expect(key, traces.drafter, num_prompt_tokens)
        if traces.co_located:
            self._expected_streams.expect(self._client, key, ExpectedStream(traces.co_located, num_prompt_tokens))
        self._tracer.follow(self._client, key, answer.request_number)
        self.flush()

    def _draft(self, work: DraftWork) -> None:
        """Start the device. It does one piece of work at a time, and the core knows it."""
        self._engine.idle_s = self._kernel.now_s - self._idle_since_s
        apply_updates(self._engine, work.updates)
        drafts = self._engine.draft(work.requests) if work.requests else []
        drafting_s = self._engine.take_drafting_s()
        self._slot.run_draft(drafting_s, _DraftFinished(self, work.requests, drafts, drafting_s))

    def _set_timer(self) -> None:
        """Schedule the core's next wake-up. A timer that fires early sets the next one."""
        wake_at = self._core.wake_at()
        if wake_at is None or (self._timer and self._timer_at <= wake_at):
            return
        if self._timer:
            self._timer.cancel()
        self._timer_at = wake_at
        self._timer = self._kernel.at(max(self._kernel.now_ns, time_ns(wake_at)), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._core.on_time(self._kernel.now_s)
        self.flush()


class _DraftFinished(Event):
    """The device has finished a piece of drafting work."""

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


class _EventDelivered(Event):
    """A stream event has reached the user."""

    __slots__ = ("_drafter", "_event")

    def __init__(self, drafter: SimulatedDrafter, event: StreamEvent) -> None:
        super().__init__()
        self._drafter = drafter
        self._event = event

    def happen(self) -> None:
        self._drafter.deliver(self._event)

"""The drafter's core: facts in, decisions out."""

import itertools
from collections.abc import Sequence

import numpy as np

from goodspeed.drafter.core.config import CoreConfig
from goodspeed.drafter.core.decision import (
    Began,
    Committed,
    Decision,
    Dial,
    DraftWork,
    Ended,
    Failed,
    News,
    Note,
    Round,
    WentOn,
)
from goodspeed.drafter.core.dialling import Dialling, backoff_s
from goodspeed.drafter.core.estimates import NEWEST, Estimates
from goodspeed.drafter.core.faults import Cure, cure_of, error_of
from goodspeed.drafter.core.request import Request, opening
from goodspeed.drafter.core.stream import Stream, StreamTable
from goodspeed.engine.base import Draft, DraftRequest, StreamKey
from goodspeed.errors import CapacityError, ErrorCode, GoodSpeedError, LinkLostError, ProtocolError
from goodspeed.protocol.messages import (
    Cancel,
    Error,
    FinishReason,
    FromDrafter,
    FromVerifier,
    Opened,
    Propose,
    Refused,
    Verdict,
    Welcome,
)
from goodspeed.protocol.session import DrafterStream
from goodspeed.windows.base import WindowView
from goodspeed.windows.policies import window_policy

NO_DRAFT = Draft((), ())


class DrafterCore:
    """Opens streams, chooses what to propose, and keeps every answer going over lost links and verifiers.

    The host tells every fact as it happens, and does what the Decision says; after each it asks next_drafts while the
    draft engine is idle, and calls on_time at wake_at. Without a link it dials as next_dial says. `now` is in seconds
    and never falls; `rng` is for the jitter of pauses. Nothing that a verifier does raises.
    """

    def __init__(self, config: CoreConfig, rng: np.random.Generator) -> None:
        self.welcome: Welcome | None = None
        """Of this link or, when there is none, of the last one."""
        self.is_up = False
        self.estimates = Estimates()
        self._retry = config.retry
        self._rng = rng
        self._window = window_policy(config.window)
        self._dialling = Dialling(config.num_verifiers, config.retry)
        self._lost_reason = "not connected yet"
        self._streams = StreamTable()
        self._keys = itertools.count(1)
        self._engine_epochs: dict[StreamKey, int] | None = None  # what the engine is drafting now
        self._notes: list[Note] = []
        self._messages: list[FromDrafter] = []
        self._news: list[News] = []
        self._hang_up: str | None = None

    @property
    def num_streams(self) -> int:
        """Unfinished ones."""
        return len(self._streams)

    @property
    def lost_reason(self) -> str:
        """Why there is no link."""
        return self._lost_reason

    @property
    def next_dial(self) -> Dial:
        """Whom to dial while there is no link."""
        return self._dialling.next_dial

    def open(self, request: Request, now: float) -> tuple[StreamKey, Decision]:
        """Begin a stream; some verifier must have been met. Raises RequestError if it is beyond that one's limits."""
        assert self.welcome is not None
        key = next(self._keys)
        end = DrafterStream(opening(request, key, self.welcome), self.welcome.vocab_size)
        stream = Stream(key, end, now)
        self._streams.on_waiting(stream, now, now)
        if not stream.is_fused:
            self._notes.append(Began(key, request.tokens, request.sampling))
        return key, self._settle(now)

    def cancel(self, key: StreamKey, now: float) -> Decision:
        """Nobody wants the stream any more; nothing happens if it has ended already."""
        if stream := self._streams.get(key):
            self._cancel(stream)
        return self._settle(now)

    def on_link_up(self, welcome: Welcome, now: float) -> Decision:
        """A verifier has said Welcome: every unfinished stream is opened there with what is committed of it."""
        if self.welcome and self._streams and welcome.model_fingerprint != self.welcome.model_fingerprint:
            here, there = (f"{one.model} ({one.model_fingerprint})" for one in (welcome, self.welcome))
            return Decision(hang_up=f"verifier {welcome.verifier} serves {here}, unfinished streams need {there}")
        self.welcome = welcome
        self.is_up = True
        self._dialling.on_up(now)
        self.estimates.on_link_up()
        return self._settle(now)

    def on_link_lost(self, reason: str, now: float) -> Decision:
        """The link, or the attempt to make one, has failed. Streams wait for the next link."""
        self.is_up = False
        self._lost_reason = reason
        self._dialling.on_lost(now, self._rng)
        for stream in self._streams:
            stream.has_reopened = False
            if stream.key not in self._streams.waiting:
                stream.end.reopen()
            self._streams.on_waiting(stream, now, now)
        return self._settle(now)

    def on_message(self, message: FromVerifier, now: float) -> Decision:
        """The verifier's next message."""
        if isinstance(message, Verdict):
            self._on_verdict(message, now)
        elif isinstance(message, Opened):
            self._on_opened(message)
        elif isinstance(message, Refused) or (isinstance(message, Error) and message.stream is None):
            self._hang_up = f"{message.code.name}: {message.reason}"
        elif isinstance(message, Error):
            self._on_error(message, now)
        return self._settle(now)

    def on_time(self, now: float) -> Decision:
        """Time has passed: streams give up, proposals are repeated."""
        for stream in list(self._streams.waiting.values()):
            if stream.stalled_since is not None and stream.stalled_since + self._retry.give_up_s <= now:
                self._fail(stream, self._stall_error(stream))
        for stream in list(self._streams.opening.values()):
            if stream.since + self._retry.first_token_s > now:
                break
            self._cancel(stream)
            reason = f"the verifier has not begun for {self._retry.first_token_s:g} s"
            self._news.append(Failed(stream.key, CapacityError(reason)))
        self._repeat_overdue(now)
        return self._settle(now)

    def wake_at(self) -> float | None:
        """When on_time is due though nothing happens; None: never."""
        streams, retry = self._streams, self._retry
        times: list[float] = []
        if waiting := streams.waiting.values():
            times += [retry.give_up_s + since for stream in waiting if (since := stream.stalled_since) is not None]
            if self.is_up and streams.num_open < self._max_streams:
                times += [stream.open_at for stream in waiting]
        if streams.opening:
            times.append(next(iter(streams.opening.values())).since + retry.first_token_s)
        if streams.owed:
            times.append(next(iter(streams.owed.values())) + retry.repeat_s)
        return min(times, default=None)

    def next_drafts(self) -> DraftWork | None:
        """What the idle draft engine is to do now, over all streams whose turn it is; None: nothing, or it is busy."""
        if self._engine_epochs is not None or not (self._notes or self._streams.ready):
            return None
        requests = self._streams.take_ready()
        self._engine_epochs = {request.stream: self._held(request.stream).epoch for request in requests}
        notes, self._notes = self._notes, []
        return DraftWork(notes, requests)

    def on_drafted(self, drafts: Sequence[Draft], drafting_s: float, now: float) -> Decision:
        """The draft engine has done the work of next_drafts; drafts are in the order of its requests."""
        assert self._engine_epochs is not None
        epochs, self._engine_epochs = self._engine_epochs, None
        if longest := max((len(draft.tokens) for draft in drafts), default=0):
            self.estimates.drafting_s_per_token.observe(drafting_s / longest)
        for (key, epoch), draft in zip(epochs.items(), drafts, strict=True):
            stream = self._streams.get(key)
            if stream and stream.epoch == epoch:
                self._propose(stream, draft, drafting_s, now)
        return self._settle(now)

    @property
    def _max_streams(self) -> int:
        return self.welcome.max_streams if self.welcome else 0

    def _held(self, key: StreamKey) -> Stream:
        stream = self._streams.get(key)
        assert stream is not None
        return stream

    def _on_opened(self, opened: Opened) -> None:
        stream = self._streams.get(opened.stream)
        if stream and stream.epoch == opened.epoch:
            stream.on_admitted()

    def _on_verdict(self, verdict: Verdict, now: float) -> None:
        stream = self._streams.get(verdict.stream)
        if stream is None:
            return
        pending = stream.end.repeat()
        try:
            _check_logprobs(stream, verdict)
            tokens = stream.end.on_verdict(verdict)
        except ProtocolError as error:
            self._reopen_once(stream, error.code, str(error), now)
            return
        if not tokens:
            return
        stream.on_admitted()
        if not stream.is_fused:
            self._notes.append(WentOn(stream.key, tokens))
        measured = self._measure(stream, pending, verdict, now)
        self._news.append(Committed(stream.key, tokens, verdict.logprobs, verdict.finish, measured))
        if verdict.finish is not FinishReason.NONE:
            self._remove(stream)
        elif stream.is_fused:
            self._streams.on_owed(stream, now)
        else:
            self._take_turn(stream, now)

    def _measure(self, stream: Stream, pending: Propose | None, verdict: Verdict, now: float) -> Round:
        queue_s, verify_s = verdict.queue_us / 1e6, verdict.verify_us / 1e6
        self.estimates.verify_s.observe(verify_s)
        if pending is None:
            return Round(0, 0, verdict.grant, queue_s, verify_s)
        num_proposed = len(pending.tokens)
        num_accepted = _num_accepted(pending, verdict)
        if num_proposed:
            stream.recent_acceptance += NEWEST * (num_accepted / num_proposed - stream.recent_acceptance)
        rtt_s = max(0.0, now - stream.sent_at - queue_s - verify_s)
        self.estimates.rtt_s.observe(rtt_s)
        return Round(num_proposed, num_accepted, verdict.grant, queue_s, verify_s, stream.drafting_s, rtt_s)

    def _take_turn(self, stream: Stream, now: float) -> None:
        """Have the stream's next proposal drafted, or send an empty one at once where nothing may be drafted."""
        view = WindowView(
            grant=stream.end.max_draft,
            recent_acceptance=stream.recent_acceptance,
            rtt_s=self.estimates.rtt_s.get(),
            drafting_s_per_token=self.estimates.drafting_s_per_token.get(),
            verify_s=self.estimates.verify_s.get(),
        )
        window = self._window.next_window(view)
        if window.max_tokens == 0:
            self._propose(stream, NO_DRAFT, 0.0, now)
        else:
            self._streams.on_ready(stream, DraftRequest(stream.key, window.max_tokens, window.min_survival), now)

    def _propose(self, stream: Stream, draft: Draft, drafting_s: float, now: float) -> None:
        self._messages.append(stream.end.propose(draft, drafting_s))
        stream.sent_at = now
        stream.drafting_s = drafting_s
        self._streams.on_owed(stream, now)

    def _on_error(self, error: Error, now: float) -> None:
        stream = self._streams.get(error.stream) if error.stream is not None else None
        if stream is None or stream.epoch != error.epoch or stream.key in self._streams.waiting:
            return
        cure = cure_of(error.code)
        if cure is Cure.REOPEN:
            self._reopen_once(stream, error.code, error.reason, now)
        elif cure is Cure.RETRY:
            stream.refusal = error.reason
            stream.end.reopen()
            self._streams.on_waiting(stream, now + backoff_s(self._retry, stream.num_refusals, self._rng), now)
            stream.num_refusals += 1
        else:
            self._fail(stream, error_of(error.code, error.reason))

    def _reopen_once(self, stream: Stream, code: ErrorCode, reason: str, now: float) -> None:
        if stream.has_reopened:
            self._cancel(stream)
            self._news.append(Failed(stream.key, error_of(code, reason)))
            return
        stream.has_reopened = True
        stream.end.reopen()
        self._streams.on_waiting(stream, now, now)

    def _repeat_overdue(self, now: float) -> None:
        for key, sent_at in list(self._streams.owed.items()):
            if sent_at + self._retry.repeat_s > now:
                return
            stream = self._held(key)
            if stream.since + self._retry.verdict_s <= now:
                self._hang_up = f"no verdict for {self._retry.verdict_s:g} s"
                return
            if pending := stream.end.repeat():
                self._messages.append(pending)
            self._streams.on_repeated(stream, now)

    def _stall_error(self, stream: Stream) -> GoodSpeedError:
        waited = f"for {self._retry.give_up_s:g} s"
        if not self.is_up:
            return LinkLostError(f"no verifier could be reached {waited}: {self._lost_reason}")
        if stream.refusal:
            return CapacityError(f"the verifier had no room {waited}: {stream.refusal}")
        return CapacityError(f"all {self._max_streams} streams of this drafter were taken {waited}")

    def _cancel(self, stream: Stream) -> None:
        if stream.key not in self._streams.waiting:
            self._messages.append(Cancel(stream.key, stream.epoch))
        self._remove(stream)

    def _fail(self, stream: Stream, error: GoodSpeedError) -> None:
        self._news.append(Failed(stream.key, error))
        self._remove(stream)

    def _remove(self, stream: Stream) -> None:
        self._streams.remove(stream)
        if not stream.is_fused:
            self._notes.append(Ended(stream.key))

    def _settle(self, now: float) -> Decision:
        """Open who may be opened, and hand out what was decided."""
        if self.is_up and self._streams.waiting:
            self._open_waiting(now)
        decision = Decision(self._messages, self._news, self._hang_up)
        self._messages, self._news, self._hang_up = [], [], None
        return decision

    def _open_waiting(self, now: float) -> None:
        for stream in list(self._streams.waiting.values()):
            if self._streams.num_open >= self._max_streams:
                return
            if stream.open_at <= now:
                self._messages.append(stream.end.opening)
                self._streams.on_opening(stream, now)


def _num_accepted(pending: Propose, verdict: Verdict) -> int:
    """The verdict's count, and the accepted token that travels as next_token because the answer ends with it."""
    num_accepted = verdict.num_accepted
    ends_with_draft = pending.tokens[num_accepted : num_accepted + 1] == (verdict.next_token,)
    return num_accepted + ends_with_draft


def _check_logprobs(stream: Stream, verdict: Verdict) -> None:
    """Raises ProtocolError if they were asked for and are not there."""
    if stream.end.opening.logprobs and not verdict.logprobs and verdict.epoch == stream.epoch:
        raise ProtocolError(ErrorCode.DIVERGED, f"{verdict}: log-probabilities were asked for", verdict.stream)

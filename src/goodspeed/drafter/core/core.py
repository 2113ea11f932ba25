"""The drafter's core: facts in, decisions out."""

import itertools
from collections.abc import Sequence

import numpy as np

from goodspeed.decoding.draft import Draft, DraftRequest, StreamKey
from goodspeed.drafter.core.core_config import DrafterCoreConfig
from goodspeed.drafter.core.decisions import (
    Decision,
    Dial,
    Disconnect,
    DraftWork,
    EngineUpdate,
    StreamClosed,
    StreamCommitted,
    StreamEvent,
    StreamFailed,
    StreamOpened,
    TokensCommitted,
    ToVerifier,
)
from goodspeed.drafter.core.error_policy import ErrorAction, action_for, user_error
from goodspeed.drafter.core.link import MEASUREMENT_WEIGHT, VerifierLink
from goodspeed.drafter.core.links import VerifierLinks
from goodspeed.drafter.core.reconnection import backoff_s
from goodspeed.drafter.core.request import GenerationRequest, opening
from goodspeed.drafter.core.rounds import check_logprobs, measure, view_stream
from goodspeed.drafter.core.timeouts import Timeouts
from goodspeed.drafter.core.user_streams import UserStream, UserStreams
from goodspeed.errors import ErrorCode, GoodSpeedError, ProtocolError
from goodspeed.protocol.messages import (
    Cancel,
    Error,
    FromDrafter,
    FromVerifier,
    Load,
    Opened,
    Refused,
    Verdict,
    Welcome,
)
from goodspeed.protocol.session import DrafterStream
from goodspeed.stats.ewma import Ewma
from goodspeed.windows.policies import window_policy

NO_DRAFT = Draft((), ())


class DrafterCore:
    """Opens streams, chooses what to propose, and keeps every answer going over lost links and verifiers.

    The host tells every fact as it happens, and does what the Decision says; after each it asks next_drafts while the
    draft engine is idle, and calls on_time at wake_at. It dials as `dials` says, and keeps a link until it is lost or
    a Decision says to hang up. Verifiers go by their index in the host's list. `now` is in seconds and never falls;
    `rng` is for routing and the jitter of pauses. Nothing that a verifier does raises.
    """

    def __init__(self, config: DrafterCoreConfig, rng: np.random.Generator) -> None:
        self.links = VerifierLinks(config, rng)
        self.drafting_s_per_token = Ewma(MEASUREMENT_WEIGHT)
        self._retry = config.retry
        self._patience = Timeouts(config.retry)
        self._rng = rng
        self._window = window_policy(config.window)
        self._streams = UserStreams()
        self._keys = itertools.count(1)
        self._engine_epochs: dict[StreamKey, int] | None = None  # what the engine is drafting now
        self._notes: tuple[
            EngineUpdate, ...
        ] = ()  # what is decided is mostly one or none: tuples are free where lists are not
        self._messages: tuple[ToVerifier, ...] = ()
        self._news: tuple[StreamEvent, ...] = ()
        self._hang_ups: tuple[Disconnect, ...] = ()

    @property
    def num_streams(self) -> int:
        """Unfinished ones."""
        return len(self._streams)

    @property
    def is_up(self) -> bool:
        """There is a link to some verifier."""
        return self.links.is_up

    @property
    def lost_reason(self) -> str:
        """Why there is none."""
        return self.links.lost_reason

    @property
    def welcome(self) -> Welcome | None:
        """The tightest limits of the verifiers that are up (the last one's, if none is); None before the first."""
        return self.links.welcome

    @property
    def dials(self) -> Sequence[Dial]:
        """Whom to dial, and when. Each stands until on_link_up or on_link_lost is told of that verifier."""
        return self.links.dials

    def open(self, request: GenerationRequest, now: float) -> tuple[StreamKey, Decision]:
        """Begin a stream; some verifier must have been met. Raises RequestError if it is beyond that one's limits."""
        assert self.welcome is not None
        key = next(self._keys)
        end = DrafterStream(opening(request, key, self.welcome), self.welcome.vocab_size)
        stream = UserStream(key, end, now)
        self._streams.on_waiting(stream, now)
        if not stream.is_fused:
            self._notes += (StreamOpened(key, request.tokens, request.sampling),)
        return key, self._settle(now)

    def cancel(self, key: StreamKey, now: float) -> Decision:
        """Nobody wants the stream any more; nothing happens if it has ended already."""
        if stream := self._streams.get(key):
            self._cancel(stream)
        return self._settle(now)

    def on_link_up(self, verifier: int, welcome: Welcome, now: float) -> Decision:
        """A verifier has said Welcome: streams that wait are opened there, with what is committed of them."""
        ours = self.welcome
        if ours and (self._streams or self.is_up) and welcome.model_fingerprint != ours.model_fingerprint:
            here, there = (f"{one.model} ({one.model_fingerprint})" for one in (welcome, ours))
            self._hang_up(verifier, f"verifier {welcome.verifier} serves {here}, the others and their streams {there}")
        else:
            self.links.on_up(verifier, welcome, now)
        return self._settle(now)

    def on_link_lost(self, verifier: int, reason: str, now: float) -> Decision:
        """The link, or the attempt to make one, has failed. Its streams go to other verifiers, or wait for one."""
        self.links.on_lost(verifier, reason, now)
        for stream in self._streams:
            stream.refusals.pop(verifier, None)
            if stream.link is self.links[verifier]:
                self._reopen(stream, now)
                stream.has_reopened = False
                stream.link = None
        return self._settle(now)

    def on_message(self, verifier: int, message: FromVerifier, now: float) -> Decision:
        """A verifier's next message."""
        link = self.links[verifier]
        if isinstance(message, Verdict):
            self._on_verdict(link, message, now)
        elif isinstance(message, Opened):
            self._on_opened(link, message)
        elif isinstance(message, Load):
            link.on_load(message)
        elif isinstance(message, Refused) or (isinstance(message, Error) and message.stream is None):
            self._hang_up(verifier, f"{message.code.name}: {message.reason}")
        elif isinstance(message, Error):
            self._on_error(link, message, now)
        return self._settle(now)

    def on_time(self, now: float) -> Decision:
        """Time has passed: streams give up, proposals are repeated."""
        for stream in self._patience.stalled(self._streams, now):
            self._fail(stream, self._patience.stall_error(stream, self.links))
        for stream in self._patience.unbegun(self._streams, now):
            self._cancel(stream)
            self._news += (StreamFailed(stream.key, self._patience.unbegun_error()),)
        self._repeat_overdue(now)
        return self._settle(now)

    def wake_at(self) -> float | None:
        """When on_time is due though nothing happens; None: never."""
        return self._patience.next_end(self._streams, self.links)

    def next_drafts(self) -> DraftWork | None:
        """What the idle draft engine is to do now, over all streams whose turn it is; None: nothing, or it is busy."""
        if self._engine_epochs is not None or not (self._notes or self._streams.ready):
            return None
        requests = self._streams.take_ready()
        self._engine_epochs = {request.stream: self._held(request.stream).epoch for request in requests}
        notes, self._notes = self._notes, ()
        return DraftWork(notes, requests)

    def on_drafted(self, drafts: Sequence[Draft], drafting_s: float, now: float) -> Decision:
        """The draft engine has done the work of next_drafts; drafts are in the order of its requests."""
        assert self._engine_epochs is not None
        epochs, self._engine_epochs = self._engine_epochs, None
        longest = 0
        for draft in drafts:
            longest = max(longest, len(draft.tokens))
        if longest:
            self.drafting_s_per_token.observe(drafting_s / longest)
        for (key, epoch), draft in zip(epochs.items(), drafts, strict=True):
            stream = self._streams.get(key)
            if stream and stream.epoch == epoch:
                self._propose(stream, draft, drafting_s, now)
        return self._settle(now)

    def _held(self, key: StreamKey) -> UserStream:
        stream = self._streams.get(key)
        assert stream is not None
        return stream

    def _at(self, link: VerifierLink, key: StreamKey | None) -> UserStream | None:
        """The stream, if this is where it is."""
        stream = self._streams.get(key) if key is not None else None
        return stream if stream and stream.link is link else None

    def _on_opened(self, link: VerifierLink, opened: Opened) -> None:
        stream = self._at(link, opened.stream)
        if stream and stream.epoch == opened.epoch:
            stream.on_admitted()

    def _on_verdict(self, link: VerifierLink, verdict: Verdict, now: float) -> None:
        stream = self._at(link, verdict.stream)
        if stream is None:
            return
        pending = stream.end.pending_proposal
        try:
            check_logprobs(stream, verdict)
            tokens = stream.end.on_verdict(verdict)
        except ProtocolError as error:
            self._reopen_once(stream, error.code, str(error), now)
            return
        if not tokens:
            return
        stream.on_admitted()
        if not stream.is_fused:
            self._notes += (StreamCommitted(stream.key, tokens),)
        measured = measure(stream, link, pending, verdict, now)
        self._news += (TokensCommitted(stream.key, tokens, verdict.logprobs, verdict.finish, measured, link.index),)
        if verdict.finish:
            self._remove(stream)
        elif not stream.end.is_ready:  # the verifier goes on alone
            self._streams.on_owed(stream, now)
        else:
            self._take_turn(stream, link, now)

    def _take_turn(self, stream: UserStream, link: VerifierLink, now: float) -> None:
        """Have the stream's next proposal drafted, or send an empty one at once where nothing may be drafted."""
        window = self._window.next_window(view_stream(stream, link, self.drafting_s_per_token.get()))
        if window.max_tokens == 0:
            self._propose(stream, NO_DRAFT, 0.0, now)
        else:
            self._streams.on_ready(stream, DraftRequest(stream.key, window.max_tokens, window.min_survival), now)

    def _propose(self, stream: UserStream, draft: Draft, drafting_s: float, now: float) -> None:
        self._tell(stream, stream.end.propose(draft, drafting_s))
        stream.sent_at = now
        stream.drafting_s = drafting_s
        self._streams.on_owed(stream, now)

    def _on_error(self, link: VerifierLink, error: Error, now: float) -> None:
        stream = self._at(link, error.stream)
        if stream is None or stream.epoch != error.epoch or stream.key in self._streams.waiting:
            return
        cure = action_for(error.code)
        if cure is ErrorAction.REOPEN:
            self._reopen_once(stream, error.code, error.reason, now)
        elif cure is ErrorAction.RETRY:
            self._reopen(stream, now)
            pause_s = backoff_s(self._retry, stream.num_refusals(link.index), self._rng)
            stream.on_refused(link.index, error.reason, now + pause_s)
        else:
            self._fail(stream, user_error(error.code, error.reason))

    def _reopen_once(self, stream: UserStream, code: ErrorCode, reason: str, now: float) -> None:
        """At the same verifier, so that whatever that still has of the stream is replaced."""
        if stream.has_reopened:
            self._cancel(stream)
            self._news += (StreamFailed(stream.key, user_error(code, reason)),)
            return
        stream.has_reopened = True
        self._reopen(stream, now)

    def _reopen(self, stream: UserStream, now: float) -> None:
        if stream.key not in self._streams.waiting:
            stream.end.reopen()
            self._streams.on_waiting(stream, now)

    def _repeat_overdue(self, now: float) -> None:
        for stream in self._patience.overdue(self._streams, now):
            if self._patience.is_given_up(stream, now):
                self._hang_up(_link_of(stream).index, self._patience.overdue_reason)
            elif pending := stream.end.pending_proposal:
                self._tell(stream, pending)
            self._streams.on_repeated(stream, now)

    def _cancel(self, stream: UserStream) -> None:
        if stream.key not in self._streams.waiting:
            self._tell(stream, Cancel(stream.key, stream.epoch))
        self._remove(stream)

    def _fail(self, stream: UserStream, error: GoodSpeedError) -> None:
        self._news += (StreamFailed(stream.key, error),)
        self._remove(stream)

    def _remove(self, stream: UserStream) -> None:
        self._streams.remove(stream)
        if not stream.is_fused:
            self._notes += (StreamClosed(stream.key),)

    def _tell(self, stream: UserStream, message: FromDrafter) -> None:
        self._messages += (ToVerifier(_link_of(stream).index, message),)

    def _hang_up(self, verifier: int, reason: str) -> None:
        """Say it once; nothing is opened there any more."""
        self.links[verifier].is_up = False
        if all(hang_up.verifier != verifier for hang_up in self._hang_ups):
            self._hang_ups += (Disconnect(verifier, reason),)

    def _settle(self, now: float) -> Decision:
        """Open who may be opened, and hand out what was decided."""
        for stream in list(self._streams.waiting.values()):
            if link := self.links.pick(stream, now):
                self._streams.on_opening(stream, link, now)
                self._tell(stream, stream.end.opening)
        decision = Decision(self._messages, self._news, self._hang_ups)
        self._messages, self._news, self._hang_ups = (), (), ()
        return decision


def _link_of(stream: UserStream) -> VerifierLink:
    assert stream.link is not None, "no verifier knows of this stream"
    return stream.link

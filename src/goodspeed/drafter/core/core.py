"""The drafter's core: it takes inputs and fills an outbox, without I/O."""

import itertools
from collections.abc import Sequence

import numpy as np

from goodspeed.decoding.draft import Draft, StreamKey
from goodspeed.drafter.core.core_config import DrafterCoreConfig
from goodspeed.drafter.core.drafting import Drafting
from goodspeed.drafter.core.engine_updates import DraftWork, StreamClosed, StreamCommitted, StreamOpened
from goodspeed.drafter.core.error_policy import ErrorAction, action_for, user_error
from goodspeed.drafter.core.link import Dial, VerifierLink, backoff_s
from goodspeed.drafter.core.links import VerifierLinks
from goodspeed.drafter.core.outbox import Disconnect, Outbox, StreamFailed, TokensCommitted, ToVerifier
from goodspeed.drafter.core.request import GenerationRequest, opening
from goodspeed.drafter.core.rounds import (
    measure,
)
from goodspeed.drafter.core.run_ahead import RunAheadCounts
from goodspeed.drafter.core.timeouts import Timeouts
from goodspeed.drafter.core.user_streams import UserStream, UserStreams
from goodspeed.errors import ErrorCode, GoodSpeedError, ProtocolError, RequestError
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
from goodspeed.windows.policies import window_policy
from goodspeed.windows.window_policy import WindowPolicy


class DrafterCore:
    """Opens streams, chooses what to propose, and keeps every answer going when links and verifiers are lost.

    The host reports each input as it happens and then carries out what is in `outbox`. It connects to verifiers as
    `dials` says and keeps a link until it is lost or the outbox has a Disconnect. It calls next_drafts whenever the
    draft engine is idle, and on_time at wake_at. Verifiers are identified by their index in the host's list.

    `now` is in seconds and must not decrease. `rng` is used for routing and for the jitter of pauses. No message of a
    verifier makes the core raise.
    """

    def __init__(self, config: DrafterCoreConfig, rng: np.random.Generator, window: WindowPolicy | None = None) -> None:
        """`window` takes the place of the policy that the configuration names."""
        self.outbox = Outbox()
        self.links = VerifierLinks(config, rng)
        self._retry = config.retry
        self._timeouts = Timeouts(config.retry)
        self._rng = rng
        self._streams = UserStreams()
        self._keys = itertools.count(1)
        self._drafting = Drafting(config, self._streams, self.outbox, window or window_policy(config.window))

    @property
    def num_streams(self) -> int:
        """Unfinished streams."""
        return len(self._streams)

    @property
    def welcome(self) -> Welcome | None:
        """The tightest limits of the verifiers that are up or, while none is, of the last; None before the first."""
        return self.links.welcome

    @property
    def dials(self) -> Sequence[Dial]:
        """The connections to make. Each stays in the list until on_link_up or on_link_lost reports that verifier."""
        return self.links.dials

    @property
    def is_drafting_ahead(self) -> bool:
        """The draft engine works on what follows proposals that are under way."""
        return self._drafting.is_ahead

    @property
    def run_ahead_counts(self) -> RunAheadCounts:
        """What was drafted past proposals so far."""
        return self._drafting.run_ahead_counts

    def open(self, request: GenerationRequest, now: float) -> StreamKey:
        """Start a stream. Call it after the first on_link_up.

        Raises RequestError if the request exceeds the limits in `welcome`, or if no verifier takes its constraint.
        """
        assert self.welcome is not None
        if request.sampling.constraint and not self.links.can_constrain:
            raise RequestError("constrained output is not supported by the verifier")
        key = next(self._keys)
        protocol = DrafterStream(opening(request, key, self.welcome), self.welcome.vocab_size)
        stream = UserStream(key, protocol, now)
        self._streams.on_waiting(stream, now)
        if not stream.never_proposes:
            self.outbox.engine_updates.append(StreamOpened(key, request.tokens, request.sampling))
        self._open_waiting(now)
        return key

    def cancel(self, key: StreamKey, now: float) -> None:
        """End a stream whose answer is not wanted any more. It has no effect on a stream that has ended."""
        if stream := self._streams.get(key):
            self._cancel(stream)
        self._open_waiting(now)

    def on_link_up(self, verifier: int, welcome: Welcome, now: float) -> None:
        """A verifier has sent its Welcome: waiting streams are opened there, with the tokens committed so far."""
        ours = self.welcome
        if ours and (self._streams or self.links.is_up) and welcome.model_fingerprint != ours.model_fingerprint:
            theirs, expected = (f"{known.model} ({known.model_fingerprint})" for known in (welcome, ours))
            self._disconnect(verifier, f"verifier {welcome.verifier} serves {theirs}, expected {expected}")
        else:
            self.links.on_up(verifier, welcome, now)
        self._open_waiting(now)

    def on_link_lost(self, verifier: int, reason: str, now: float) -> None:
        """A link was lost, or the attempt to connect has failed. Its streams move to other verifiers, or wait."""
        self.links.on_lost(verifier, reason, now)
        for stream in self._streams:
            stream.refusals.pop(verifier, None)
            if stream.link is self.links[verifier]:
                self._reopen(stream, now)
                stream.has_reopened = False
                stream.link = None
        self._open_waiting(now)

    def on_message(self, verifier: int, message: FromVerifier, now: float) -> None:
        """A verifier's next message."""
        link = self.links[verifier]
        if isinstance(message, Verdict):
            self._on_verdict(link, message, now)
        elif isinstance(message, Opened):
            self._on_opened(link, message, now)
        elif isinstance(message, Load):
            link.on_load(message, now)
        elif isinstance(message, Refused) or (isinstance(message, Error) and message.stream is None):
            self._disconnect(verifier, f"{message.code.name}: {message.reason}")
        elif isinstance(message, Error):
            self._on_error(link, message, now)
        self._open_waiting(now)

    def on_time(self, now: float) -> None:
        """Apply the timeouts that have ended: streams fail, proposals are sent again."""
        for stream in self._timeouts.stalled(self._streams, now):
            self._fail(stream, self._timeouts.stalled_error(stream, self.links))
        for stream in self._timeouts.unstarted(self._streams, now):
            self._cancel(stream)
            self.outbox.events.append(StreamFailed(stream.key, self._timeouts.unstarted_error()))
        self._repeat_overdue(now)
        self._open_waiting(now)

    def wake_at(self) -> float | None:
        """When on_time is due if nothing else happens; None: never."""
        return self._timeouts.next_at(self._streams, self.links)

    def next_drafts(self) -> DraftWork | None:
        """Work for the idle draft engine, over all streams that are ready; None: there is none, or it is busy."""
        return self._drafting.next_drafts()

    def on_drafted(self, drafts: Sequence[Draft], drafting_s: float, now: float) -> None:
        """The draft engine has done the work of next_drafts; `drafts` are in the order of its requests."""
        self._drafting.on_drafted(drafts, drafting_s, now)
        self._open_waiting(now)

    def _open_waiting(self, now: float) -> None:
        """Open the waiting streams for which a verifier has room."""
        for stream in list(self._streams.waiting.values()):
            if link := self.links.pick(stream, now):
                self._streams.on_opening(stream, link, now)
                self._drafting.choose_opening_mode(stream)
                self._send(stream, link.opening(stream.protocol.opening))

    def _on_opened(self, link: VerifierLink, opened: Opened, now: float) -> None:
        stream = self._stream_at(link, opened.stream)
        if stream is None or stream.epoch != opened.epoch:
            return
        if stream.key in self._streams.awaiting_verdict:  # the verifier has preempted it: the verdict takes its time
            self._streams.on_awaiting_verdict(stream, now)
            return
        stream.on_admitted()
        stream.num_cached = opened.cached_tokens
        if stream.protocol.opening.sampling.constraint and not stream.grammars:
            stream.grammars = link.grammars

    def _on_verdict(self, link: VerifierLink, verdict: Verdict, now: float) -> None:
        stream = self._stream_at(link, verdict.stream)
        if stream is None:
            return
        proposal = stream.protocol.pending_proposal
        try:
            tokens = stream.protocol.on_verdict(verdict)
        except ProtocolError as error:
            self._reopen_once(stream, error.code, str(error), now)
            return
        if not tokens:
            return
        stream.on_admitted()
        if not stream.never_proposes:
            self.outbox.engine_updates.append(StreamCommitted(stream.key, tokens))
        self._drafting.on_committed(stream, tokens)
        measured = measure(stream, link, proposal, verdict, now)
        self.outbox.events.append(
            TokensCommitted(
                stream.key,
                tokens,
                verdict.logprobs,
                verdict.finish,
                measured,
                link.index,
                verdict.top_logprobs,
                verdict.prompt_logprobs,
                verdict.prompt_top_logprobs,
            )
        )
        if verdict.finish:
            self._remove(stream)
        elif stream.protocol.is_ready:
            self._drafting.request_proposal(stream, now)
        else:  # a local round: the next verdict follows without a proposal
            stream.forget_run_ahead()
            self._streams.on_awaiting_verdict(stream, now)
            self._drafting.on_local_round(stream, verdict, now)

    def _on_error(self, link: VerifierLink, error: Error, now: float) -> None:
        stream = self._stream_at(link, error.stream)
        if stream is None or stream.epoch != error.epoch or stream.key in self._streams.waiting:
            return
        if error.code is ErrorCode.UNKNOWN_PREFIX and len(link.texts):
            link.texts.clear()
            self._reopen(stream, now)
            return
        action = action_for(error.code)
        if action is ErrorAction.REOPEN:
            self._reopen_once(stream, error.code, error.reason, now)
        elif action is ErrorAction.RETRY:
            self._reopen(stream, now)
            pause_s = backoff_s(self._retry, stream.num_refusals(link.index), self._rng)
            stream.on_refused(link.index, error.reason, now + pause_s)
        else:
            self._fail(stream, user_error(error.code, error.reason))

    def _reopen_once(self, stream: UserStream, code: ErrorCode, reason: str, now: float) -> None:
        """Open it again at the same verifier, which replaces its state of the stream; fail it the second time."""
        if stream.has_reopened:
            self._cancel(stream)
            self.outbox.events.append(StreamFailed(stream.key, user_error(code, reason)))
            return
        stream.has_reopened = True
        self._reopen(stream, now)

    def _reopen(self, stream: UserStream, now: float) -> None:
        if stream.key not in self._streams.waiting:
            self._drafting.end(stream)
            stream.protocol.reopen()
            self._streams.on_waiting(stream, now)

    def _repeat_overdue(self, now: float) -> None:
        """Send overdue proposals again; disconnect from a verifier that has not answered for too long."""
        for stream in self._timeouts.overdue(self._streams, now):
            link = stream.verifier
            if not self._timeouts.is_given_up(stream, now):
                if proposal := stream.protocol.pending_proposal:
                    self._send(stream, proposal)
            elif link.is_up:
                self._disconnect(link.index, self._timeouts.no_verdict_reason)
            self._streams.on_repeated(stream, now)

    def _cancel(self, stream: UserStream) -> None:
        if stream.key not in self._streams.waiting:
            self._send(stream, Cancel(stream.key, stream.epoch))
        self._remove(stream)

    def _fail(self, stream: UserStream, error: GoodSpeedError) -> None:
        self.outbox.events.append(StreamFailed(stream.key, error))
        self._remove(stream)

    def _remove(self, stream: UserStream) -> None:
        if stream.link and len(stream.protocol.committed) > stream.protocol.opening.num_prompt:
            stream.link.texts.add(stream.key, stream.protocol.committed)
        self._streams.remove(stream)
        self._drafting.end(stream)
        if not stream.never_proposes:
            self.outbox.engine_updates.append(StreamClosed(stream.key))

    def _send(self, stream: UserStream, message: FromDrafter) -> None:
        self.outbox.messages.append(ToVerifier(stream.verifier.index, message))

    def _disconnect(self, verifier: int, reason: str) -> None:
        """No stream is opened there from now on."""
        self.links[verifier].is_up = False
        self.outbox.disconnects.append(Disconnect(verifier, reason))

    def _stream_at(self, link: VerifierLink, key: StreamKey | None) -> UserStream | None:
        """The stream if it is on this link."""
        stream = self._streams.get(key) if key is not None else None
        return stream if stream and stream.link is link else None

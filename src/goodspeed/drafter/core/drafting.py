"""What a drafter's draft engine works on: proposals, run-ahead past them, and shadow drafts."""

from collections.abc import Sequence

from msgspec import Struct

from goodspeed.decoding.draft import NO_DRAFT, Draft, DraftRequest, StreamKey
from goodspeed.drafter.core.core_config import DrafterCoreConfig
from goodspeed.drafter.core.engine_updates import DraftWork
from goodspeed.drafter.core.link import MEASUREMENT_WEIGHT
from goodspeed.drafter.core.outbox import Outbox, ToVerifier
from goodspeed.drafter.core.rounds import expected_window, learn_from_shadow, view_run_ahead, view_stream
from goodspeed.drafter.core.run_ahead import RunAhead, RunAheadCounts, RunAheads, joined, rest_request
from goodspeed.drafter.core.user_streams import ShadowRequest, UserStream, UserStreams
from goodspeed.protocol.messages import FromDrafter, ShadowDraft, Verdict
from goodspeed.stats.ewma import Ewma
from goodspeed.windows.window_policy import NO_WINDOW, ModePolicy, Window, WindowPolicy


class StartedDraft(Struct, frozen=True, gc=False):
    """A draft that the draft engine is working on."""

    stream: StreamKey
    epoch: int
    committed_length: int
    """Committed tokens that precede it."""
    shadow_round: int | None
    """It is a shadow draft, for the verdict of this round; None: it becomes a proposal."""


class Drafting:
    """Requests drafts for the streams that are ready, and sends what comes of them.

    The host calls next_drafts whenever the draft engine is idle, and on_drafted when it has done the work.
    """

    def __init__(self, config: DrafterCoreConfig, streams: UserStreams, outbox: Outbox, window: WindowPolicy) -> None:
        self.s_per_token = Ewma(MEASUREMENT_WEIGHT)
        self._streams = streams
        self._outbox = outbox
        self._window = window
        self._modes = window if isinstance(window, ModePolicy) else None
        self._run_aheads = RunAheads(config.run_ahead)
        self._started: list[StartedDraft] | None = None  # in the draft engine, in order of its requests; None: idle
        self._started_ahead: list[RunAhead] = []  # in the draft engine; then _started is empty

    @property
    def is_ahead(self) -> bool:
        """The draft engine works on what follows proposals that are under way."""
        return bool(self._started_ahead)

    @property
    def run_ahead_counts(self) -> RunAheadCounts:
        """What was drafted past proposals so far."""
        return self._run_aheads.counts

    def next_drafts(self) -> DraftWork | None:
        """Work for the idle draft engine, over all streams that are ready; None: there is none, or it is busy."""
        if self._started is not None:
            return None
        if not self._streams.has_draft_requests and self._run_aheads.has_requests:
            return self._draft_ahead()
        if not (self._outbox.engine_updates or self._streams.has_draft_requests):
            return None
        proposals, shadows = self._streams.start_drafting(), self._streams.start_shadow_drafting()
        self._started = [self._start(request, None) for request in proposals]
        self._started += [self._start(shadow.draft, shadow.round) for shadow in shadows]
        requests = [*proposals, *(shadow.draft for shadow in shadows)]
        return DraftWork(self._outbox.take_engine_updates(), requests)

    def on_drafted(self, drafts: Sequence[Draft], drafting_s: float, now: float) -> None:
        """The draft engine has done the work of next_drafts; `drafts` are in the order of its requests."""
        assert self._started is not None
        started, self._started = self._started, None
        longest = 0
        for draft in drafts:
            longest = max(longest, len(draft.tokens))
        if longest:
            self.s_per_token.observe(drafting_s / longest)
        if self._started_ahead:
            self._on_drafted_ahead(drafts, now)
            return
        for start, draft in zip(started, drafts, strict=True):
            stream = self._streams.get(start.stream)
            if stream is None or stream.epoch != start.epoch:
                continue
            if start.shadow_round is None:
                self._propose(stream, draft, drafting_s, now)
            else:
                self._send_drafted_shadow(stream, start, draft, drafting_s)

    def request_proposal(self, stream: UserStream, now: float) -> None:
        """Have the stream's next proposal drafted; a window of 0 tokens is proposed at once, without the engine."""
        window = NO_WINDOW if stream.never_proposes else self._next_window(stream, now)
        stream.window = window
        if window.max_tokens == 0:
            self._propose(stream, NO_DRAFT, 0.0, now)
            return
        self._streams.on_ready(stream, DraftRequest(stream.key, window.max_tokens, window.min_survival), now)
        if stream.run_ahead:
            self._use_head_start(stream, now)

    def choose_opening_mode(self, stream: UserStream) -> None:
        """The stream is opened on its link in the mode that the policy has chosen there, if it chooses modes."""
        if self._modes and not stream.never_proposes:
            mode = self._modes.mode_of(stream.verifier.index)
            if mode is not stream.protocol.mode:
                stream.protocol.open_in(mode)

    def on_local_round(self, stream: UserStream, verdict: Verdict, now: float) -> None:
        """The next round is local. Choose the mode if the policy does; have a shadow draft drafted if one is wanted."""
        if stream.never_proposes or not (self._modes or stream.protocol.max_draft):
            return
        window = self._next_window(stream, now)
        if stream.protocol.max_draft:
            self._request_shadow(stream, verdict, window)

    def _request_shadow(self, stream: UserStream, verdict: Verdict, window: Window) -> None:
        """Have a shadow draft drafted, as long as the proposal would be."""
        if window.max_tokens == 0:
            empty = stream.protocol.shadow_draft(verdict.round, NO_DRAFT, verdict.committed_length, 0.0)
            self._send_shadow(stream, empty)
        else:
            request = DraftRequest(stream.key, window.max_tokens, window.min_survival)
            self._streams.on_shadow_requested(stream, ShadowRequest(verdict.round, request))

    def on_committed(self, stream: UserStream, tokens: tuple[int, ...]) -> None:
        """A verdict has committed these tokens: if they were drafted, what follows them is a head start."""
        learn_from_shadow(stream)
        self._run_aheads.end(stream.key)
        if stream.run_ahead and not stream.run_ahead.on_verdict(tokens):
            stream.run_ahead = None

    def end(self, stream: UserStream) -> None:
        """Nothing of the stream is drafted ahead any more: it is opened again, or has ended."""
        self._run_aheads.end(stream.key)
        stream.forget_run_ahead()

    def _draft_ahead(self) -> DraftWork:
        """Work on what follows the proposals that are under way."""
        self._started = []
        self._started_ahead, requests = self._run_aheads.start_drafting(self.s_per_token.get())
        return DraftWork(self._outbox.take_engine_updates(), requests)

    def _on_drafted_ahead(self, drafts: Sequence[Draft], now: float) -> None:
        """Continue with the streams whose verdicts have come while the engine was drafting ahead."""
        aheads, self._started_ahead = self._started_ahead, []
        for ahead, draft in zip(aheads, drafts, strict=True):
            self._run_aheads.on_drafted(ahead, draft)
        for stream in list(self._streams.ready.values()):
            stream.waited_s = now - stream.since
            if stream.run_ahead:
                self._use_head_start(stream, now)

    def _next_window(self, stream: UserStream, now: float) -> Window:
        """The policy's window. If it chooses another mode, the verifier is asked for it before anything is proposed."""
        view = view_stream(stream, stream.verifier, self.s_per_token.get(), self._run_aheads.is_on, now)
        window = self._window.next_window(view)
        if window.mode is not stream.protocol.mode:
            self._send(stream, stream.protocol.change_mode(window.mode))
            stream.num_mode_changes += 1
        return window

    def _use_head_start(self, stream: UserStream, now: float) -> None:
        """Request only what the head start lacks of the proposal; if it lacks nothing, send it."""
        assert stream.run_ahead is not None
        stream.head_start, is_whole = stream.run_ahead.head_start(stream.window)
        if is_whole:
            stream.draft_request = None
            self._propose(stream, NO_DRAFT, 0.0, now)
        else:
            stream.draft_request = rest_request(stream.key, stream.window, stream.head_start)

    def _start(self, request: DraftRequest, shadow_round: int | None) -> StartedDraft:
        stream = self._streams.get(request.stream)
        assert stream is not None
        return StartedDraft(stream.key, stream.epoch, len(stream.protocol.committed), shadow_round)

    def _send_drafted_shadow(self, stream: UserStream, start: StartedDraft, draft: Draft, drafting_s: float) -> None:
        assert start.shadow_round is not None
        view = view_run_ahead(stream, stream.verifier, draft, self.s_per_token.get())
        saved_s = min(drafting_s, self._run_aheads.saving_s(view))
        length = start.committed_length
        self._send_shadow(stream, stream.protocol.shadow_draft(start.shadow_round, draft, length, drafting_s, saved_s))

    def _send_shadow(self, stream: UserStream, shadow: ShadowDraft) -> None:
        stream.shadow = shadow
        self._send(stream, shadow)
        learn_from_shadow(stream)

    def _propose(self, stream: UserStream, draft: Draft, drafting_s: float, now: float) -> None:
        """Send the head start, if any, and what was drafted after it."""
        proposal = joined(stream.head_start, draft)
        stream.drafting_s = stream.waited_s + drafting_s
        self._send(stream, stream.protocol.propose(proposal, stream.drafting_s))
        stream.sent_at = now
        self._streams.on_awaiting_verdict(stream, now)
        if stream.run_ahead:
            stream.run_ahead.on_used(len(stream.head_start.tokens))
        stream.forget_run_ahead()
        view = view_run_ahead(stream, stream.verifier, proposal, self.s_per_token.get())
        next_window = expected_window(stream, len(proposal.tokens))
        stream.run_ahead = self._run_aheads.start(stream.key, proposal, next_window, view)

    def _send(self, stream: UserStream, message: FromDrafter) -> None:
        self._outbox.messages.append(ToVerifier(stream.verifier.index, message))

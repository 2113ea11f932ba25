"""Handles everything that reaches the verifier from its links: messages, losses of links, and what is overdue."""

from goodspeed.engine.interface import TargetInfo
from goodspeed.errors import ErrorCode, ProtocolError
from goodspeed.protocol.known_prefix import with_known
from goodspeed.protocol.limits import check_open
from goodspeed.protocol.messages import (
    Cancel,
    ChangeMode,
    Error,
    Hello,
    Load,
    Message,
    Open,
    Opened,
    Propose,
    Refused,
    ShadowDraft,
    Verdict,
)
from goodspeed.protocol.session import RepeatedProposal, VerifierStream, repeat_last_verdict
from goodspeed.verifier.core.admission import Admission, QueuedStream
from goodspeed.verifier.core.client import Client, ConnId
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.core.load_meter import LoadMeter
from goodspeed.verifier.core.outbox import VerifierOutbox
from goodspeed.verifier.core.served_streams import ServedStream, ServedStreams
from goodspeed.verifier.core.sessions import ClientSession, SessionTable
from goodspeed.verifier.core.stream_memory import StreamMemory
from goodspeed.verifier.core.timing.baseline import Baseline

HANDSHAKE_TIMEOUT_S = 10.0
"""How long a link may stay without its Hello."""
LOAD_INTERVAL_S = 1.0
"""Minimum time between two reports of the load."""
PREEMPTED_INTERVAL_S = 5.0
"""Time between two reports of preempted streams: their drafters would take the verifier for lost."""


class MessageHandler:
    """Keeps sessions, streams and KV memory consistent, and puts its answers into the outbox.

    An Error about a stream in an epoch states that the verifier no longer holds anything for it in that epoch. After
    every call the core must call `admit` and `report_load`.
    """

    def __init__(
        self,
        config: VerifierCoreConfig,
        info: TargetInfo,
        streams: ServedStreams,
        baseline: Baseline,
        outbox: VerifierOutbox,
    ) -> None:
        self.sessions = SessionTable(config, info)
        self._welcome = self.sessions.welcome
        self._streams = streams
        self._baseline = baseline
        self.memory = StreamMemory(config, info, streams, outbox)
        self._admission = Admission(min(config.max_admitted, info.max_streams), config.max_queued)
        self._outbox = outbox
        self._lease_s = config.lease_s
        self._blocked_state: tuple[object, ...] | None = None
        self.meter = LoadMeter()
        self._reported_load = self.load()
        self._next_report_at = 0.0
        self._preempted_reported_at = 0.0

    def on_connect(self, conn: ConnId, names: frozenset[str] | None, now: float) -> None:
        """A link was opened."""
        self.sessions.start(conn, names, now)

    def on_message(self, conn: ConnId, message: Message, now: float) -> None:
        """Carry the message out, or answer it with an Error."""
        session = self.sessions.get(conn)
        if session is None:  # the message was on its way when its session ended
            return
        try:
            self._dispatch(session, message, now)
        except ProtocolError as error:
            self._report_error(
                session, error, message.epoch if isinstance(message, Open | Propose | ShadowDraft) else None, now
            )

    def on_malformed(self, conn: ConnId, error: ProtocolError, now: float) -> None:
        """A link's next message cannot be carried out; `error` names a stream, or concerns the session."""
        if session := self.sessions.get(conn):
            self._report_error(session, error, error.epoch, now)

    def on_disconnect(self, conn: ConnId, now: float) -> None:
        """A link is lost."""
        if session := self.sessions.get(conn):
            self._on_session_ended(session, now)

    def on_revoked(self, conn: ConnId, now: float) -> None:
        """End the session, and every stream of its client: nobody may resume them."""
        if session := self.sessions.get(conn):
            streams = list(self._streams.of(session.client).values()) if session.client else []
            self._end_session(session, ErrorCode.UNAUTHENTICATED, "the credential was revoked", now)
            for stream in streams:
                self.close(stream)

    def on_time(self, now: float) -> None:
        """End the sessions whose handshake is overdue and the streams whose lease has expired."""
        while (session := self.sessions.oldest_awaiting_hello()) and self._handshake_due(session) <= now:
            self._end_session(session, ErrorCode.OUT_OF_ORDER, f"no Hello within {HANDSHAKE_TIMEOUT_S:g} s", now)
        for stream in list(self._streams.drafting.values()):
            if self._lease_due(stream) > now:
                break
            self._report_end(stream, ErrorCode.LEASE_EXPIRED, f"no proposal within {self._lease_s:g} s")
            self.close(stream)
        if self._streams.preempted and self._preempted_reported_at + PREEMPTED_INTERVAL_S <= now:
            self._preempted_reported_at = now
            for stream in self._streams.preempted.values():
                self._outbox.send(stream.conn, Opened(stream.request.stream, stream.request.epoch))

    def on_shutdown(self, now: float) -> None:
        """End every session and every stream."""
        for session in self.sessions.all():
            self._end_session(session, ErrorCode.SHUTTING_DOWN, "the verifier is shutting down", now)
        for stream in list(self._streams):
            self.close(stream)
        self.memory.prefix_cache.clear()

    def wake_at(self) -> float | None:
        """When on_time is due if nothing else happens; None: never."""
        times = []
        if drafting := self._streams.drafting:
            times.append(self._lease_due(next(iter(drafting.values()))))
        if session := self.sessions.oldest_awaiting_hello():
            times.append(self._handshake_due(session))
        if self._has_news():
            times.append(self._next_report_at)
        if self._streams.preempted:
            times.append(self._preempted_reported_at + PREEMPTED_INTERVAL_S)
        return min(times, default=None)

    def on_engine_failed(self, stream: ServedStream, reason: str, code: ErrorCode = ErrorCode.INTERNAL) -> None:
        """End the stream, and report the error to its drafter. What the engine holds of it is not kept."""
        self._report_end(stream, code, reason)
        self._admission.release()
        self.memory.end(stream, is_kept=False)

    def close(self, stream: ServedStream) -> None:
        """End the stream and free its memory, except what the prefix cache keeps."""
        self._admission.release()
        self.memory.end(stream)

    def load(self) -> Load:
        """How busy the verifier is; the busy share is the one last reported."""
        ledger, meter, num_preempted = self.memory.ledger, self.meter, len(self._streams.preempted)
        num_waiting = self._admission.num_queued + num_preempted
        return Load(
            len(self._streams) - num_preempted,
            num_waiting,
            ledger.num_used,
            ledger.capacity,
            meter.busy_permille,
            meter.num_waiting,
            meter.num_streams,
            meter.num_tokens,
        )

    def admit(self, now: float) -> None:
        """Continue preempted streams, then open waiting ones, as many as fit; disconnected ones yield their memory.

        While nothing has changed since the first of them did not fit, it is not tried again.
        """
        while self._streams.preempted or self._admission.num_queued:
            if (state := self._memory_state()) == self._blocked_state:
                return
            if not self._admit_next(now):
                self._blocked_state = state
                return

    def _memory_state(self) -> tuple[object, ...]:
        """What decides whether the stream that is next fits."""
        ledger, streams = self.memory.ledger, self._streams
        waiting = next(iter(streams.preempted.values()), None) or self._admission.next_in_turn()
        return waiting, ledger.num_free, ledger.num_used, streams.num_steps, streams.oldest_disconnected()

    def _admit_next(self, now: float) -> bool:
        """Take one step towards serving the stream that is next; False if that must wait."""
        preempted, queued = next(iter(self._streams.preempted.values()), None), self._admission.next_in_turn()
        if preempted:
            if self.memory.can_continue(preempted):
                self._continue(preempted, now)
                return True
        elif queued and self.memory.can_admit(queued):
            self._admission.admit(queued)
            self._open(queued, now)
            return True
        if disconnected := self._streams.oldest_disconnected():
            self.close(disconnected)
            return True
        return False

    def report_load(self, now: float) -> None:
        """Report a changed load to all drafters, at most once per LOAD_INTERVAL_S."""
        if now >= self._next_report_at and self._has_news():
            self.meter.on_report(now)
            self._reported_load, self._next_report_at = self.load(), now + LOAD_INTERVAL_S
            self._outbox.broadcast(self.sessions.welcomed_conns(), self._reported_load)

    def _has_news(self) -> bool:
        return self.meter.has_news or self.load() != self._reported_load

    def _dispatch(self, session: ClientSession, message: Message, now: float) -> None:
        client = session.client
        if isinstance(message, Hello):
            self._on_hello(session, message, now)
        elif client is None:
            raise ProtocolError(ErrorCode.OUT_OF_ORDER, f"{type(message).__name__} before Hello")
        elif isinstance(message, Propose):
            self._on_propose(client, message, now)
        elif isinstance(message, Open):
            self._on_open(client, message, now)
        elif isinstance(message, ShadowDraft):
            self._on_shadow_draft(client, message, now)
        elif isinstance(message, ChangeMode):
            self._on_change_mode(client, message)
        elif isinstance(message, Cancel):
            self._on_cancel(client, message)
        else:
            raise ProtocolError(ErrorCode.OUT_OF_ORDER, f"{type(message).__name__}, which only a verifier sends")

    def _on_hello(self, session: ClientSession, hello: Hello, now: float) -> None:
        older = self.sessions.accept(session, hello)
        if older:
            self._end_session(older, ErrorCode.SUPERSEDED, f"drafter {hello.drafter!r} has connected again", now)
        self.sessions.bind(session)
        self._outbox.send(session.conn, self._welcome)
        self._outbox.send(session.conn, self.load())

    def _on_open(self, client: Client, request: Open, now: float) -> None:
        if request.known:
            request = with_known(request, self.memory.prefix_cache.text(client.name, request.known.stream))
        check_open(request, self._welcome)
        self._check_epoch(client, request)
        self._streams.forget_finished_stream(client, request.stream)
        self._admission.withdraw(client, request.stream)
        protocol = VerifierStream(request, self._welcome)
        older = self._streams.of(client).get(request.stream)
        if older and older.can_resume(request) and not self._streams.is_stepping(older):
            self._resume(older, protocol, now)
            return
        if older:
            self.close(older)
        self._enqueue(QueuedStream(client, protocol, request.num_prompt + request.max_tokens))

    def _check_epoch(self, client: Client, request: Open) -> None:
        """Within one session epochs grow. A new session may start anywhere: its drafter may have lost its epochs."""
        queued = self._admission.find(client, request.stream)
        held = self._streams.of(client).get(request.stream)
        current = queued.protocol.request if queued else held.request if held and held.conn == client.conn else None
        if current and request.epoch <= current.epoch:
            raise ProtocolError(
                ErrorCode.STALE_EPOCH, f"epoch is {request.epoch}, the stream is at {current.epoch}", request.stream
            )

    def _enqueue(self, queued: QueuedStream) -> None:
        client, stream_id = queued.client, queued.stream_id
        num_streams = len(self._admission.queued(client)) + self._streams.num_connected(client)
        if num_streams >= self._welcome.max_streams:
            reason = f"{num_streams} streams are open or waiting, expected at most {self._welcome.max_streams}"
            raise ProtocolError(ErrorCode.CAPACITY, reason, stream_id)
        ledger = self.memory.ledger
        if ledger.in_blocks(queued.capacity) > ledger.capacity:
            reason = f"the stream needs {queued.capacity} KV tokens, the verifier has {ledger.capacity}"
            raise ProtocolError(ErrorCode.CAPACITY, reason, stream_id)
        turned_away = self._admission.enqueue(queued)
        if turned_away:
            request = turned_away.protocol.request
            reason = f"{self._admission.num_queued} streams wait for KV memory already"
            error = Error(ErrorCode.CAPACITY, reason, request.stream, request.epoch)
            self._outbox.send(turned_away.client.conn, error)

    def _open(self, queued: QueuedStream, now: float) -> None:
        client, request = queued.client, queued.protocol.request
        stream = ServedStream(
            key=self._streams.next_key(),
            client=client,
            conn=client.conn,
            protocol=queued.protocol,
            capacity=queued.capacity,
            num_unprefilled=len(request.tokens),
            waiting_since=now,
            baseline=self._baseline.open(now, is_prefilling=True),
        )
        num_cached = self.memory.open(stream)
        stream.num_unprefilled -= num_cached
        self._streams.add(stream)
        self._outbox.send(stream.conn, Opened(request.stream, request.epoch, num_cached))
        is_new_prompt = request.num_prompt == len(request.tokens)  # otherwise an answer continues after a lost link
        if is_new_prompt and not stream.protocol.never_proposes:
            client.on_stream()

    def _continue(self, stream: ServedStream, now: float) -> None:
        """Give a preempted stream memory for its whole answer. Its drafter notices nothing but the time."""
        self._streams.rename(stream)
        stream.is_reserved = True
        stream.baseline.is_known = False  # the target without drafts would have been preempted as well
        self._streams.resume(stream, self.memory.open(stream), now)

    def _resume(self, older: ServedStream, protocol: VerifierStream, now: float) -> None:
        """Continue in the memory of the older stream, without another prefill."""
        client, request = older.client, protocol.request
        stream = ServedStream(
            key=older.key,
            client=client,
            conn=client.conn,
            protocol=protocol,
            capacity=older.capacity,
            num_unprefilled=0,
            waiting_since=now,
            is_prefilled=True,
            is_reserved=older.is_reserved,
            baseline=self._baseline.open(now, is_prefilling=False),
        )
        self._streams.replace(stream, now)
        self._outbox.send(stream.conn, Opened(request.stream, request.epoch))

    def _on_propose(self, client: Client, propose: Propose, now: float) -> None:
        stream = self._streams.of(client).get(propose.stream)
        if stream is None or stream.conn != client.conn:
            self._on_propose_to_finished(client, propose)
            return
        proposal = stream.protocol.on_propose(propose)
        if isinstance(proposal, RepeatedProposal):
            self._repeat(client, proposal.verdict)
            return
        if stream.protocol.never_proposes and not proposal.tokens:
            stream.grant = 0  # the answer to a grant of before a change of mode: it says nothing about its drafts
        turnaround_s, drafting_s = now - stream.waiting_since, propose.drafting_us / 1e6
        client.timing.on_proposal(turnaround_s, drafting_s, len(propose.tokens), stream.grant)
        stream.proposal = proposal
        if self._streams.awaits_proposal(stream):  # otherwise it is preempted, or is being restored
            self._streams.on_ready(stream, now)

    def _on_propose_to_finished(self, client: Client, propose: Propose) -> None:
        finished = self._streams.finished(client.name, propose.stream)
        if finished is None:
            raise ProtocolError(ErrorCode.UNKNOWN_STREAM, f"stream {propose.stream} is not open", propose.stream)
        self._repeat(client, repeat_last_verdict(finished.verdict, propose).verdict)

    def _repeat(self, client: Client, verdict: Verdict | None) -> None:
        if verdict is not None:
            self._outbox.send(client.conn, verdict)

    def _on_shadow_draft(self, client: Client, draft: ShadowDraft, now: float) -> None:
        """A draft that is late, for a stream or an epoch that has ended, is ignored."""
        stream = self._streams.of(client).get(draft.stream)
        if stream and stream.conn == client.conn and draft.epoch == stream.request.epoch:
            stream.shadows.on_shadow_draft(draft, client, stream.protocol.committed, self._welcome.vocab_size, now)

    def _on_change_mode(self, client: Client, change: ChangeMode) -> None:
        """One that is late, for a stream or an epoch that has ended, is ignored."""
        held = self._streams.of(client).get(change.stream)
        queued = self._admission.find(client, change.stream)
        if held and held.conn == client.conn and held.request.epoch == change.epoch:
            held.change_mode(change.mode)
        elif queued and queued.protocol.request.epoch == change.epoch:
            queued.protocol.change_mode(change.mode)

    def _on_cancel(self, client: Client, cancel: Cancel) -> None:
        held = self._streams.of(client).get(cancel.stream)
        queued = self._admission.find(client, cancel.stream)
        if held and held.request.epoch == cancel.epoch:
            self.close(held)
        if queued and queued.protocol.request.epoch == cancel.epoch:
            self._admission.withdraw(client, cancel.stream)

    def _report_error(self, session: ClientSession, error: ProtocolError, epoch: int | None, now: float) -> None:
        """End what the error concerns, and report it. With an `epoch`, only that epoch of the stream ends."""
        if error.stream is None or session.client is None:
            self._end_session(session, error.code, str(error), now)
            return
        held = self._streams.of(session.client).get(error.stream)
        queued = self._admission.find(session.client, error.stream)
        if held and epoch in {None, held.request.epoch}:
            epoch = held.request.epoch
            self.close(held)
        elif queued and epoch in {None, queued.protocol.request.epoch}:
            epoch = queued.protocol.request.epoch
            self._admission.withdraw(session.client, error.stream)
        self._outbox.send(session.conn, Error(error.code, str(error), error.stream, epoch or 0))

    def _report_end(self, stream: ServedStream, code: ErrorCode, reason: str) -> None:
        self._outbox.send(stream.conn, Error(code, reason, stream.request.stream, stream.request.epoch))

    def _end_session(self, session: ClientSession, code: ErrorCode, reason: str, now: float) -> None:
        """Report the reason to the drafter, and end its session."""
        self._outbox.send(session.conn, Error(code, reason) if session.client else Refused(code, reason))
        self._on_session_ended(session, now)

    def _on_session_ended(self, session: ClientSession, now: float) -> None:
        """Drop the session's waiting streams; its admitted streams stay for their lease."""
        self.sessions.end(session)
        client = session.client
        if client is None:
            return
        self._streams.forget_finished(client)
        for queued in self._admission.queued(client):
            self._admission.withdraw(client, queued.stream_id)
        for stream in list(self._streams.of(client).values()):
            if stream.conn != session.conn:
                continue
            if self._streams.is_preempted(stream):
                self.close(stream)  # its drafter opens it again with all that is committed
            else:
                self._streams.on_disconnected(stream, now)

    def _handshake_due(self, session: ClientSession) -> float:
        return session.connected_at + HANDSHAKE_TIMEOUT_S

    def _lease_due(self, stream: ServedStream) -> float:
        return stream.waiting_since + self._lease_s

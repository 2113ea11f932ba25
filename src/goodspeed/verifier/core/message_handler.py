"""What drafters say: sessions, openings, proposals, cancellations, and errors to those who got it wrong."""

from goodspeed.decoding.draft import StreamKey
from goodspeed.engine.interface import TargetInfo
from goodspeed.errors import ErrorCode, ProtocolError
from goodspeed.protocol.limits import check_open
from goodspeed.protocol.messages import (
    Cancel,
    Error,
    Hello,
    Load,
    Message,
    Open,
    Opened,
    Propose,
    Refused,
    Verdict,
    Welcome,
)
from goodspeed.protocol.session import RepeatedProposal, VerifierStream, repeat_last_verdict
from goodspeed.verifier.core.admission import Admission, Applicant
from goodspeed.verifier.core.client import Client, ConnId
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.core.served_stream import ServedStream
from goodspeed.verifier.core.served_streams import ServedStreams
from goodspeed.verifier.core.sessions import ClientSession, SessionTable
from goodspeed.verifier.core.timing.baseline import StreamBaseline

Reply = tuple[ConnId, Message]
"""A message for one link. Refused, and Error without a stream, end its session: the host closes the link."""


def ends_session(message: Message) -> bool:
    """Whether the link is to be closed once this message is sent."""
    return isinstance(message, Refused) or (isinstance(message, Error) and message.stream is None)


class MessageHandler:
    """Takes messages, keeps sessions, streams and memory in step, and collects replies.

    An Error about a stream in an epoch means that the verifier holds nothing for it in that epoch any more.
    """

    def __init__(self, config: VerifierCoreConfig, info: TargetInfo, welcome: Welcome) -> None:
        self.sessions = SessionTable(config, welcome, info.tokenizer_fingerprint)
        self.streams = ServedStreams()
        self.admission = Admission(info.kv_capacity, config.max_admitted, config.max_queued)
        self.replies: list[Reply] = []
        self._welcome = welcome

    def on_message(self, session: ClientSession, message: Message, now: float) -> None:
        """Do as the message says, or answer with an Error."""
        try:
            self._dispatch(session, message, now)
        except ProtocolError as error:
            self.blame(session, error, message.epoch if isinstance(message, Open | Propose) else None, now)

    def blame(self, session: ClientSession, error: ProtocolError, epoch: int | None, now: float) -> None:
        """Close what the error is about (of a stream: in that epoch alone, if one is given), and say so."""
        if error.stream is None or session.client is None:
            self.end_session(session, error.code, str(error), now)
            return
        held = self.streams.of(session.client).get(error.stream)
        queued = self.admission.find(session.client, error.stream)
        if held and epoch in {None, held.request.epoch}:
            epoch = held.request.epoch
            self.free(held)
        elif queued and epoch in {None, queued.end.request.epoch}:
            epoch = queued.end.request.epoch
            self.admission.withdraw(session.client, error.stream)
        self.replies.append((session.conn, Error(error.code, str(error), error.stream, epoch or 0)))

    def end_session(self, session: ClientSession, code: ErrorCode, reason: str, now: float) -> None:
        """Tell the drafter why, and end its session."""
        answer = Error(code, reason) if session.client else Refused(code, reason)
        self.replies.append((session.conn, answer))
        self.on_session_lost(session, now)

    def on_session_lost(self, session: ClientSession, now: float) -> None:
        """What waits for memory is dropped; what has it is kept for its lease."""
        self.sessions.end(session)
        if session.client is None:
            return
        self.streams.forget_finished(session.client)
        for applicant in self.admission.queued(session.client):
            self.admission.withdraw(session.client, applicant.stream_id)
        for stream in list(self.streams.of(session.client).values()):
            if stream.conn == session.conn:
                self.streams.on_orphaned(stream, now)

    def fail(self, stream: ServedStream, code: ErrorCode, reason: str) -> None:
        """End the stream, and tell its drafter if there is one."""
        if stream.conn is not None:
            self.replies.append((stream.conn, Error(code, reason, stream.request.stream, stream.request.epoch)))
        self.free(stream)

    def free(self, stream: ServedStream) -> None:
        """End the stream and free its memory."""
        self.streams.close(stream)
        self.admission.release(stream.capacity)

    def load(self) -> Load:
        """How busy the verifier is."""
        admission = self.admission
        return Load(len(self.streams), admission.num_queued, admission.kv_used, admission.kv_capacity)

    def admit(self, now: float) -> None:
        """Open as many waiting streams as may be; the leases of lost drafters yield to those who wait."""
        while self.admission.num_queued:
            applicant = self.admission.admit_next()
            if applicant is None:
                orphan = self.streams.oldest_orphan()
                if orphan is None:
                    return
                self.free(orphan)
                continue
            self._open(applicant, now)

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
        elif isinstance(message, Cancel):
            self._on_cancel(client, message)
        else:
            raise ProtocolError(ErrorCode.OUT_OF_ORDER, f"{type(message).__name__} is a verifier's to send")

    def _on_hello(self, session: ClientSession, hello: Hello, now: float) -> None:
        older = self.sessions.introduce(session, hello)
        if older:
            self.end_session(older, ErrorCode.SUPERSEDED, f"drafter {hello.drafter!r} has connected again", now)
        self.sessions.bind(session)
        self.replies += [(session.conn, self._welcome), (session.conn, self.load())]

    def _on_open(self, client: Client, request: Open, now: float) -> None:
        check_open(request, self._welcome)
        self._check_epoch(client, request)
        self.streams.forget_finished(client, request.stream)
        self.admission.withdraw(client, request.stream)
        end = VerifierStream(request, self._welcome)
        older = self.streams.of(client).get(request.stream)
        if older and older.can_resume(request) and not self.streams.is_stepping(older):
            self._resume(older.key, client, end, now)
            return
        if older:
            self.free(older)
        self._apply(Applicant(client, end, end.spec().capacity, now))

    def _check_epoch(self, client: Client, request: Open) -> None:
        """Within one session an epoch grows. A new session starts afresh: its drafter may have forgotten its epochs."""
        queued = self.admission.find(client, request.stream)
        held = self.streams.of(client).get(request.stream)
        current = queued.end.request if queued else held.request if held and held.conn == client.conn else None
        if current and request.epoch <= current.epoch:
            raise ProtocolError(
                ErrorCode.STALE_EPOCH, f"epoch is {request.epoch}, the stream is at {current.epoch}", request.stream
            )

    def _apply(self, applicant: Applicant) -> None:
        client, request = applicant.client, applicant.end.request
        num_streams = len(self.admission.queued(client)) + self.streams.count(client)
        if num_streams >= self._welcome.max_streams:
            reason = f"{num_streams} streams are open or waiting, at most {self._welcome.max_streams} may"
            raise ProtocolError(ErrorCode.CAPACITY, reason, request.stream)
        if applicant.capacity > self.admission.kv_capacity:
            reason = f"the stream needs {applicant.capacity} tokens of memory, there are {self.admission.kv_capacity}"
            raise ProtocolError(ErrorCode.CAPACITY, reason, request.stream)
        turned_away = self.admission.apply(applicant)
        if turned_away and turned_away.client.conn is not None:
            request = turned_away.end.request
            reason = f"{self.admission.num_queued} streams wait for memory already"
            self.replies.append(
                (turned_away.client.conn, Error(ErrorCode.CAPACITY, reason, request.stream, request.epoch))
            )

    def _open(self, applicant: Applicant, now: float) -> None:
        stream = ServedStream(
            key=self.streams.next_key(),
            client=applicant.client,
            conn=applicant.client.conn,
            end=applicant.end,
            capacity=applicant.capacity,
            num_unprefilled=len(applicant.end.request.tokens),
            since=now,
            baseline=StreamBaseline(now, len(applicant.end.request.tokens)),
        )
        self.streams.open(stream)
        self._say_opened(stream)
        is_new = stream.request.num_prompt == len(stream.request.tokens)  # else the text of a lost link goes on
        if is_new and not stream.is_fused:
            stream.client.estimator.on_stream()

    def _resume(self, key: StreamKey, client: Client, end: VerifierStream, now: float) -> None:
        """Go on in the memory of the older stream: nothing is prefilled again."""
        stream = ServedStream(key, client, client.conn, end, end.spec().capacity, num_unprefilled=0, since=now)
        stream.baseline = StreamBaseline(now, num_prefilled=0)
        self.streams.adopt(stream, now)
        self._say_opened(stream)

    def _say_opened(self, stream: ServedStream) -> None:
        assert stream.conn is not None
        self.replies.append((stream.conn, Opened(stream.request.stream, stream.request.epoch)))

    def _on_propose(self, client: Client, propose: Propose, now: float) -> None:
        stream = self.streams.of(client).get(propose.stream)
        if stream is None or stream.conn != client.conn:
            self._on_late_propose(client, propose)
            return
        accepted = stream.end.on_propose(propose)
        if isinstance(accepted, RepeatedProposal):
            self._repeat(client, accepted.verdict)
            return
        client.turnaround.observe(now - stream.since)
        client.timing.on_proposal(now - stream.since, propose.drafting_us / 1e6, len(propose.tokens))
        stream.proposal = accepted
        self.streams.on_ready(stream, now)

    def _on_late_propose(self, client: Client, propose: Propose) -> None:
        finished = self.streams.finished(client, propose.stream)
        if finished is None:
            raise ProtocolError(ErrorCode.UNKNOWN_STREAM, f"stream {propose.stream} is not open", propose.stream)
        self._repeat(client, repeat_last_verdict(finished, propose))

    def _repeat(self, client: Client, verdict: Verdict | None) -> None:
        if verdict is not None and client.conn is not None:
            self.replies.append((client.conn, verdict))

    def _on_cancel(self, client: Client, cancel: Cancel) -> None:
        held = self.streams.of(client).get(cancel.stream)
        queued = self.admission.find(client, cancel.stream)
        if held and held.request.epoch == cancel.epoch:
            self.free(held)
        if queued and queued.end.request.epoch == cancel.epoch:
            self.admission.withdraw(client, cancel.stream)

"""Who is connected: one session a link, at most one session a client."""

from dataclasses import dataclass

from goodspeed.errors import ErrorCode, ProtocolError
from goodspeed.protocol.limits import check_hello
from goodspeed.protocol.messages import Hello, Welcome
from goodspeed.scheduling.policies import ESTIMATORS
from goodspeed.verifier.core.client import Client, ClientTable, ConnId
from goodspeed.verifier.core.core_config import VerifierCoreConfig


@dataclass(slots=True, eq=False)
class ClientSession:
    """A link, from its connection to its end; it has a client once its Hello was welcome."""

    conn: ConnId
    since: float
    client: Client | None = None


class SessionTable:
    """Open sessions by link, and all clients ever met (within bounds)."""

    def __init__(self, config: VerifierCoreConfig, welcome: Welcome, tokenizer_fingerprint: str) -> None:
        self.clients = ClientTable()
        self._config = config
        self._welcome = welcome
        self._tokenizer_fingerprint = tokenizer_fingerprint
        self._sessions: dict[ConnId, ClientSession] = {}
        self._strangers: dict[ConnId, ClientSession] = {}  # who has not said Hello yet, the oldest first

    def get(self, conn: ConnId) -> ClientSession | None:
        """None: the session has ended."""
        return self._sessions.get(conn)

    def all(self) -> list[ClientSession]:
        return list(self._sessions.values())

    def welcome_conns(self) -> list[ConnId]:
        """The links whose Hello was welcome."""
        return [session.conn for session in self._sessions.values() if session.client]

    def oldest_stranger(self) -> ClientSession | None:
        """The session that waits for its Hello for longest."""
        return next(iter(self._strangers.values()), None)

    def begin(self, conn: ConnId, now: float) -> None:
        self._sessions[conn] = self._strangers[conn] = ClientSession(conn, now)

    def end(self, session: ClientSession) -> None:
        del self._sessions[session.conn]
        self._strangers.pop(session.conn, None)
        if session.client and session.client.conn == session.conn:
            session.client.conn = None

    def introduce(self, session: ClientSession, hello: Hello) -> ClientSession | None:
        """Give the session its client. Returns the older session of that client, which the caller must end.

        Raises ProtocolError (session) for a Hello that is not welcome.
        """
        if session.client:
            raise ProtocolError(ErrorCode.OUT_OF_ORDER, "a second Hello, expected one")
        check_hello(hello, self._welcome, self._tokenizer_fingerprint)
        client = self.clients.get(hello.drafter)
        if client is None:
            estimator = ESTIMATORS[self._config.estimator](self._config.beta, self._config.eta)
            client = Client(hello.drafter, estimator, config=self._config.client(hello.drafter))
        older = None if client.conn is None else self._sessions[client.conn]
        session.client = client
        del self._strangers[session.conn]
        self.clients.add(client)
        return older

    def bind(self, session: ClientSession) -> None:
        """Messages to the session's client go to this session from now on."""
        assert session.client is not None
        session.client.conn = session.conn

"""The sessions of a verifier: one per link, and at most one per client."""

from dataclasses import dataclass

from goodspeed.engine.interface import TargetInfo
from goodspeed.errors import ErrorCode, ProtocolError
from goodspeed.protocol.limits import check_hello
from goodspeed.protocol.messages import PROTOCOL_VERSION, Hello, Welcome
from goodspeed.scheduling.policies import ESTIMATORS
from goodspeed.verifier.core.client import Client, ClientTable, ConnId
from goodspeed.verifier.core.core_config import VerifierCoreConfig


@dataclass(slots=True, eq=False)
class ClientSession:
    """A link from its connection to its end. It has a client once its Hello is accepted."""

    conn: ConnId
    connected_at: float
    names: frozenset[str] | None = None  # that its peer has proved to be its own; None: any
    client: Client | None = None


class SessionTable:
    """Open sessions by link, and the clients of past and present sessions (a bounded number)."""

    def __init__(self, config: VerifierCoreConfig, info: TargetInfo) -> None:
        self.welcome = _welcome(config, info)
        """The answer to every Hello that is accepted."""
        self.clients = ClientTable()
        self._config = config
        self._tokenizer_fingerprint = info.tokenizer_fingerprint
        self._sessions: dict[ConnId, ClientSession] = {}
        self._awaiting_hello: dict[ConnId, ClientSession] = {}  # the oldest first

    def get(self, conn: ConnId) -> ClientSession | None:
        """None: the session has ended."""
        return self._sessions.get(conn)

    def all(self) -> list[ClientSession]:
        return list(self._sessions.values())

    def welcomed_conns(self) -> list[ConnId]:
        """The links whose Hello was accepted."""
        return [session.conn for session in self._sessions.values() if session.client]

    def oldest_awaiting_hello(self) -> ClientSession | None:
        """The session that awaits its handshake for longest."""
        return next(iter(self._awaiting_hello.values()), None)

    def start(self, conn: ConnId, names: frozenset[str] | None, now: float) -> None:
        self._sessions[conn] = self._awaiting_hello[conn] = ClientSession(conn, now, names)

    def end(self, session: ClientSession) -> None:
        del self._sessions[session.conn]
        self._awaiting_hello.pop(session.conn, None)
        if session.client and session.client.conn == session.conn:
            session.client.conn = None

    def accept(self, session: ClientSession, hello: Hello) -> ClientSession | None:
        """Give the session its client. Returns the older session of that client, which the caller must end.

        Raises ProtocolError (session) for a Hello that the verifier refuses.
        """
        if session.client:
            raise ProtocolError(ErrorCode.OUT_OF_ORDER, "a second Hello, expected one")
        check_hello(hello, self.welcome, self._tokenizer_fingerprint)
        _check_name(hello.drafter, session.names)
        client = self.clients.get(hello.drafter)
        if client is None:
            estimator = ESTIMATORS[self._config.estimator](self._config.beta, self._config.eta)
            client = Client(hello.drafter, estimator, config=self._config.client(hello.drafter))
        older = None if client.conn is None else self._sessions[client.conn]
        session.client = client
        del self._awaiting_hello[session.conn]
        self.clients.add(client)
        return older

    def bind(self, session: ClientSession) -> None:
        """Messages to the session's client go to this session from now on."""
        assert session.client is not None
        session.client.conn = session.conn


def _check_name(name: str, names: frozenset[str] | None) -> None:
    """Raises ProtocolError (session) unless the name belongs to the peer."""
    if names is not None and name not in names:
        own = " or ".join(map(repr, sorted(names))) or "none"
        raise ProtocolError(ErrorCode.UNAUTHENTICATED, f"drafter name is {name!r}, the credential is for {own}")


def _welcome(config: VerifierCoreConfig, info: TargetInfo) -> Welcome:
    return Welcome(
        version=PROTOCOL_VERSION,
        verifier=config.name,
        model=info.model,
        model_fingerprint=info.model_fingerprint,
        vocab_size=info.vocab_size,
        max_context=info.max_context,
        max_streams=config.max_streams,
        max_proposal=config.max_proposal,
        end_tokens=info.end_tokens,
        keeps_prefixes=config.prefix_cache_tokens > 0,
        grammars=info.grammars,
    )

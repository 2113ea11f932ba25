"""Names that belong to a peer, and credentials that are withdrawn."""

from goodspeed.engine.toy_target import ToyTarget
from goodspeed.errors import ErrorCode
from goodspeed.protocol.messages import Error, Open, Opened, Refused, Welcome
from goodspeed.testing.virtual_verifier import VirtualVerifier, hello, open_request
from goodspeed.verifier.core.core_config import VerifierCoreConfig

ANNS = frozenset({"ann", "laptop-of-ann"})
FIXED = VerifierCoreConfig(scheduler="fixed")


def num_open(verifier: VirtualVerifier) -> int:
    return verifier.core.stats().load.open_streams


def test_a_peer_may_use_the_names_that_belong_to_it() -> None:
    verifier = VirtualVerifier(FIXED)
    for names, is_allowed in ((None, True), (ANNS, True), (frozenset({"bob"}), False), (frozenset[str](), False)):
        first, *_ = verifier.deliver(verifier.connect(names=names), hello("ann"))
        assert isinstance(first, Welcome if is_allowed else Refused)
        assert is_allowed or (isinstance(first, Refused) and first.code is ErrorCode.UNAUTHENTICATED)


def test_a_refused_name_supersedes_nobody() -> None:
    verifier = VirtualVerifier(FIXED)
    ann = verifier.connect(names=ANNS)
    verifier.deliver(ann, hello("ann"))
    verifier.deliver(verifier.connect(names=frozenset({"bob"})), hello("ann"))
    assert verifier.take(ann) == []
    opened, *_ = verifier.deliver(ann, open_request(1))
    assert isinstance(opened, Opened)


def test_a_withdrawn_credential_ends_the_session_and_every_stream_of_its_client() -> None:
    engine = ToyTarget()
    verifier = VirtualVerifier(FIXED, engine.info)
    bob = verifier.welcome("bob")
    verifier.deliver(bob, open_request(1))
    first = verifier.connect(names=ANNS)
    verifier.deliver(first, hello("ann"))
    verifier.deliver(first, open_request(1))
    verifier.disconnect(first)  # its stream waits to be resumed
    second = verifier.connect(names=ANNS)
    verifier.deliver(second, hello("ann"))
    verifier.deliver(second, open_request(2))
    verifier.deliver(second, open_request(3, max_tokens=1000))
    verifier.run(1.0)
    assert num_open(verifier) == 4
    verifier.take(second)
    verifier.revoke(second)
    assert verifier.take(second) == [Error(ErrorCode.UNAUTHENTICATED, "the credential was revoked")]
    verifier.run(1.0)
    assert num_open(verifier) == 1, "Bob's"
    assert verifier.deliver(second, open_request(4)) == []


def test_a_credential_that_is_withdrawn_before_the_hello_ends_the_session() -> None:
    verifier = VirtualVerifier(FIXED)
    conn = verifier.connect(names=ANNS)
    verifier.revoke(conn)
    assert verifier.take(conn) == [Refused(ErrorCode.UNAUTHENTICATED, "the credential was revoked")]
    verifier.revoke(conn)
    assert verifier.take(conn) == []


def test_waiting_streams_of_a_withdrawn_credential_are_never_opened() -> None:
    verifier = VirtualVerifier(VerifierCoreConfig(scheduler="fixed", max_admitted=1))
    bob, ann = verifier.welcome("bob"), verifier.connect(names=ANNS)
    verifier.deliver(ann, hello("ann"))
    verifier.deliver(bob, open_request(1))
    request: Open = open_request(1)
    assert not any(isinstance(message, Opened) for message in verifier.deliver(ann, request))
    verifier.revoke(ann)
    load = verifier.core.stats().load
    assert (load.open_streams, load.queued_streams) == (1, 0)

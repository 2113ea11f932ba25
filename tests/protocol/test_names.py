"""A drafter's name belongs to who holds its credential: over gRPC, with tokens and with certificates."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.verifier.live import connect_drafter, receive_one

from goodspeed.credentials.credentials_file import add_credential, remove_credential
from goodspeed.decoding.draft import Draft
from goodspeed.engine.toy_target import ToyTarget
from goodspeed.errors import ErrorCode, LinkLostError, ProtocolError
from goodspeed.protocol.grpc_client import grpc_connect
from goodspeed.protocol.grpc_config import GrpcClientConfig, GrpcServerConfig
from goodspeed.protocol.grpc_server import serve_grpc
from goodspeed.protocol.messages import Cancel, Error, Message, Opened, Refused, Verdict, Welcome
from goodspeed.protocol.session import DrafterStream
from goodspeed.protocol.transport import Connect, Connection
from goodspeed.testing.virtual_verifier import hello, open_request, target_only_text
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.server import VerifierServer

TLS = Path(__file__).parent / "tls"
CORE = VerifierCoreConfig(scheduler="fixed")
SETUPS = ("tokens", "tokens and TLS", "certificates")
REQUEST = open_request(7, max_tokens=60)


@dataclass
class SharedVerifier:
    """A verifier on loopback, and how its drafters connect to it."""

    server: VerifierServer
    port: int
    credentials: Path
    ann: GrpcClientConfig
    mallory: GrpcClientConfig
    mallory_name: str

    def connect(self, config: GrpcClientConfig) -> Connect:
        return grpc_connect(f"127.0.0.1:{self.port}", config)

    def num_open(self) -> int:
        metrics = {metric.name: metric for metric in self.server.collect_metrics()}
        return int(metrics["goodspeed_open_streams"].samples[0].value)


@asynccontextmanager
async def shared_verifier(folder: Path, setup: str) -> AsyncIterator[SharedVerifier]:
    """Ann and Mallory both have valid credentials."""
    path = folder / "drafters"
    ann_token, mallory_token = add_credential(path, "ann"), add_credential(path, "mallory")
    ca, pair = str(TLS / "ca.pem"), (str(TLS / "server.pem"), str(TLS / "server.key"))
    if setup == "certificates":
        config = GrpcServerConfig(port=0, tls_cert=pair[0], tls_key=pair[1], tls_ca=ca)
        ann, mallory = (
            GrpcClientConfig(tls_ca=ca, tls_cert=str(TLS / f"{name}.pem"), tls_key=str(TLS / f"{name}.key"))
            for name in ("ann", "client")
        )
    elif setup == "tokens":
        config = GrpcServerConfig(port=0, credentials=str(path))
        ann, mallory = GrpcClientConfig(token=ann_token), GrpcClientConfig(token=mallory_token)
    else:
        config = GrpcServerConfig(port=0, tls_cert=pair[0], tls_key=pair[1], credentials=str(path))
        ann, mallory = (GrpcClientConfig(tls_ca=ca, token=token) for token in (ann_token, mallory_token))
    server = VerifierServer(CORE, ToyTarget())
    grpc_server = await serve_grpc(server.serve, config)
    running = asyncio.create_task(server.run())
    name = "goodspeed test client" if setup == "certificates" else "mallory"
    try:
        yield SharedVerifier(server, grpc_server.port, path, ann, mallory, name)
    finally:
        await server.close()
        await running
        await grpc_server.stop(0)


async def first_answer(connect: Connect, name: str) -> Message:
    """The verifier's answer to a Hello."""
    connection = await connect()
    await connection.send([hello(name)])
    first, *_ = await connection.receive()
    await connection.close()
    return first


async def waiting_stream(connection: Connection) -> DrafterStream:
    """A stream that awaits its drafter's proposal."""
    await connection.send([REQUEST])
    stream = DrafterStream(REQUEST)
    verdict = await receive_one(connection, Verdict)
    assert isinstance(verdict, Verdict)
    stream.on_verdict(verdict)
    return stream


async def finish(connection: Connection, stream: DrafterStream) -> list[int]:
    """The stream's text at its end; the drafter proposes nothing."""
    while True:
        if stream.is_ready:
            await connection.send([stream.propose(Draft((), ()), drafting_s=0.0)])
        verdict = await receive_one(connection, Verdict)
        assert isinstance(verdict, Verdict)
        stream.on_verdict(verdict)
        if verdict.finish:
            return list(stream.committed)


@pytest.mark.parametrize("setup", SETUPS)
async def test_a_name_cannot_be_taken_from_its_connected_drafter(tmp_path: Path, setup: str) -> None:
    async with asyncio.timeout(30), shared_verifier(tmp_path, setup) as verifier:
        ann = await connect_drafter(verifier.connect(verifier.ann), "ann")
        stream = await waiting_stream(ann)
        refused = await first_answer(verifier.connect(verifier.mallory), "ann")
        assert isinstance(refused, Refused)
        assert refused.code is ErrorCode.UNAUTHENTICATED
        assert refused.reason == f"drafter name is 'ann', the credential is for {verifier.mallory_name!r}"
        assert await finish(ann, stream) == target_only_text(REQUEST), "the session goes on"
        await ann.close()


@pytest.mark.parametrize("setup", SETUPS)
async def test_streams_of_others_cannot_be_read_resumed_or_ended(tmp_path: Path, setup: str) -> None:
    """Mallory knows everything of Ann's stream but the credential."""
    async with asyncio.timeout(30), shared_verifier(tmp_path, setup) as verifier:
        ann = await connect_drafter(verifier.connect(verifier.ann), "ann")
        mallory = await connect_drafter(verifier.connect(verifier.mallory), verifier.mallory_name)
        stream = await waiting_stream(ann)
        proposal = DrafterStream(REQUEST)
        proposal.committed, proposal.grant, proposal._next_round = list(stream.committed), stream.grant, 1
        await mallory.send([proposal.propose(Draft((), ()), drafting_s=0.0)])
        error = await receive_one(mallory, Error)
        assert isinstance(error, Error)
        assert error.code is ErrorCode.UNKNOWN_STREAM
        await mallory.send([Cancel(7, 0)])
        assert verifier.num_open() == 1

        await ann.close()  # her stream waits for her
        for name in ("ann", verifier.mallory_name):
            taker = await verifier.connect(verifier.mallory)()
            await taker.send([hello(name), replace(REQUEST, epoch=1, tokens=tuple(stream.committed))])
            first, *_ = await taker.receive()
            assert isinstance(first, Refused) == (name == "ann")
            if name != "ann":
                await receive_one(taker, Verdict)
                assert verifier.num_open() == 2, "a stream of her own, beside Ann's"
            await taker.close()

        ann = await connect_drafter(verifier.connect(verifier.ann), "ann")
        await ann.send([stream.reopen()])
        opened, verdict = await receive_one(ann, Opened), await receive_one(ann, Verdict)
        assert isinstance(opened, Opened)
        assert isinstance(verdict, Verdict)
        stream.on_verdict(verdict)
        assert await finish(ann, stream) == target_only_text(REQUEST)
        await ann.close()
        await mallory.close()


@pytest.mark.parametrize("setup", ["tokens", "tokens and TLS"])
async def test_a_revoked_drafter_loses_its_session_and_its_streams(tmp_path: Path, setup: str) -> None:
    async with asyncio.timeout(30), shared_verifier(tmp_path, setup) as verifier:
        ann = await connect_drafter(verifier.connect(verifier.ann), "ann")
        mallory = await connect_drafter(verifier.connect(verifier.mallory), "mallory")
        stream = await waiting_stream(ann)
        await waiting_stream(mallory)
        assert verifier.num_open() == 2
        remove_credential(verifier.credentials, "mallory")
        error = await receive_one(mallory, Error)
        assert isinstance(error, Error)
        assert (error.code, error.stream) == (ErrorCode.UNAUTHENTICATED, None)
        assert error.reason == "the credential was revoked"
        with pytest.raises(LinkLostError):
            await receive_one(mallory, Verdict)
        with pytest.raises(ProtocolError, match="missing, wrong or revoked"):
            await verifier.connect(verifier.mallory)()
        assert verifier.num_open() == 1
        assert await finish(ann, stream) == target_only_text(REQUEST), "others are served"
        await ann.close()


async def test_a_replaced_token_ends_the_session_of_the_old_one_and_the_new_one_has_the_name(tmp_path: Path) -> None:
    async with asyncio.timeout(30), shared_verifier(tmp_path, "tokens") as verifier:
        ann = await connect_drafter(verifier.connect(verifier.ann), "ann")
        token = add_credential(verifier.credentials, "ann", is_replacing=True)
        error = await receive_one(ann, Error)
        assert isinstance(error, Error)
        assert error.code is ErrorCode.UNAUTHENTICATED
        new = await connect_drafter(verifier.connect(GrpcClientConfig(token=token)), "ann")
        assert await finish(new, await waiting_stream(new)) == target_only_text(REQUEST)
        await new.close()


async def test_a_token_serves_only_with_a_certificate_of_its_name_where_both_are_required(tmp_path: Path) -> None:
    path = tmp_path / "drafters"
    tokens = {name: add_credential(path, name) for name in ("ann", "laptop-of-ann", "mallory")}
    cert, key, ca = (str(TLS / name) for name in ("server.pem", "server.key", "ca.pem"))
    config = GrpcServerConfig(port=0, tls_cert=cert, tls_key=key, tls_ca=ca, credentials=str(path))
    server = VerifierServer(CORE, ToyTarget())
    grpc_server = await serve_grpc(server.serve, config)
    running = asyncio.create_task(server.run())
    for name, token in tokens.items():
        client = GrpcClientConfig(
            tls_ca=str(TLS / "ca.pem"), tls_cert=str(TLS / "ann.pem"), tls_key=str(TLS / "ann.key"), token=token
        )
        connect = grpc_connect(f"127.0.0.1:{grpc_server.port}", client)
        if name == "mallory":
            with pytest.raises(ProtocolError, match="the token is that of 'mallory', the certificate is not"):
                await connect()
        else:
            assert isinstance(await first_answer(connect, name), Welcome)
    await server.close()
    await running
    await grpc_server.stop(0)


async def test_common_name_counts_only_without_alternative_names(tmp_path: Path) -> None:
    async with asyncio.timeout(30), shared_verifier(tmp_path, "certificates") as verifier:
        for name, is_hers in {"ann": True, "laptop-of-ann": True, "goodspeed test ann": False, "bob": False}.items():
            answer = await first_answer(verifier.connect(verifier.ann), name)
            assert isinstance(answer, Welcome if is_hers else Refused)

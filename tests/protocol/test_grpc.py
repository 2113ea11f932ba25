"""The gRPC transport on loopback: admission, the services, and wrong or hostile peers."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests.protocol.grpc_serving import answer, path_of, serving, talk

from goodspeed.errors import ConfigError, ErrorCode, LinkLostError, ProtocolError
from goodspeed.protocol.address import Address, check_port_is_free
from goodspeed.protocol.codec import MAX_FRAME_BYTES, decode_verifier_frame, encode_message
from goodspeed.protocol.grpc_client import grpc_connect
from goodspeed.protocol.grpc_config import (
    METHOD,
    MIN_KEEPALIVE_S,
    SERVICE,
    GrpcClientConfig,
    GrpcServerConfig,
    channel_options,
)
from goodspeed.protocol.grpc_server import check_grpc, serve_grpc
from goodspeed.protocol.messages import Cancel, Error, Opened
from goodspeed.protocol.transport import Connection


def plain_channel(port: int) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(f"127.0.0.1:{port}")


async def test_connections_to_this_machine_use_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """ollama#560, grpc#29718."""
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with serving(GrpcServerConfig(port=0)) as server:
        for host in ("127.0.0.1", "localhost"):
            await talk(server.port, GrpcClientConfig(), host)
    with pytest.raises(LinkLostError, match=r"grpc_proxy sets a proxy: no_proxy can exempt verifier\.invalid"):
        await talk(7700, GrpcClientConfig(), "verifier.invalid")


async def test_ipv6_addresses_work() -> None:
    try:
        check_port_is_free(Address("::1", free_port()))
    except ConfigError:
        pytest.skip("this machine has no IPv6")
    async with serving(GrpcServerConfig(host="::1", port=0)) as server:
        for host in ("::1", "[::1]"):
            await talk(server.port, GrpcClientConfig(), host)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (GrpcServerConfig(token_file="secrets/token"), "cannot read 'secrets/token'"),
        (GrpcServerConfig(tls_cert="cert.pem", tls_key="key.pem"), "cannot read 'key.pem'"),
        (GrpcServerConfig(host="no such host"), "cannot listen on no such host:7700"),
    ],
)
def test_what_cannot_work_is_found_before_anything_is_loaded(config: GrpcServerConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_grpc(config)


async def test_a_bearer_token_can_be_required(tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.write_text("s3cret\n")
    async with serving(GrpcServerConfig(port=0, token_file=str(token_file))) as server:
        await talk(server.port, GrpcClientConfig(token="s3cret"))
        for token in ("", "s3cre", "s3cret2"):
            with pytest.raises(ProtocolError) as caught:
                await talk(server.port, GrpcClientConfig(token=token))
            assert caught.value.code is ErrorCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    "contents", [b"s3cret\r\n", b"\xef\xbb\xbfs3cret", "s3cret\r\n".encode("utf-16"), b"  s3cret \n\n"]
)
async def test_a_token_file_may_be_written_by_any_editor(tmp_path: Path, contents: bytes) -> None:
    token_file = tmp_path / "token"
    token_file.write_bytes(contents)
    async with serving(GrpcServerConfig(port=0, token="s3cret")) as server:
        await talk(server.port, GrpcClientConfig(token_file=str(token_file)))


def test_a_peer_may_probe_as_often_as_its_own_configuration_says() -> None:
    """sglang#19986: the other end's setting decided, and gRPC ended idle links with "too many pings"."""
    for keepalive_s in (MIN_KEEPALIVE_S, 20.0, 3600.0):
        options = dict(channel_options(keepalive_s))
        assert options["grpc.http2.min_ping_interval_without_data_ms"] < 1000 * MIN_KEEPALIVE_S
    with pytest.raises(ConfigError, match="keepalive_s"):
        GrpcClientConfig(keepalive_s=MIN_KEEPALIVE_S / 2)


async def test_connections_are_limited() -> None:
    async with serving(GrpcServerConfig(port=0, max_connections=1)) as server:
        first = await grpc_connect(f"127.0.0.1:{server.port}", GrpcClientConfig())()
        with pytest.raises(ProtocolError) as caught:
            await talk(server.port, GrpcClientConfig())
        assert caught.value.code is ErrorCode.CAPACITY
        await first.close()
        await talk(server.port, GrpcClientConfig())


async def test_health_is_served_without_a_token() -> None:
    async with serving(GrpcServerConfig(port=0, token="s3cret")) as server, plain_channel(server.port) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", SERVICE):
            reply = await health.Check(health_pb2.HealthCheckRequest(service=service))
            assert reply.status == health_pb2.HealthCheckResponse.SERVING


async def test_reflection_lists_the_service_and_describes_its_messages() -> None:
    async with serving(GrpcServerConfig(port=0)) as server, plain_channel(server.port) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        requests = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol="goodspeed.v1.Verdict"),
        ]
        listed, described = [reply async for reply in stub.ServerReflectionInfo(iter(requests))]
        assert SERVICE in {service.name for service in listed.list_services_response.service}
        assert b"committed_length" in described.file_descriptor_response.file_descriptor_proto[0]


@asynccontextmanager
async def raw_call(port: int) -> AsyncIterator[grpc.aio.StreamStreamCall[bytes, bytes]]:
    """A call that sends raw bytes, which our own client never would."""
    async with plain_channel(port) as channel:
        method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(f"/{SERVICE}/{METHOD}")
        call = method()
        await call.initial_metadata()
        yield call


async def test_garbage_gets_an_error_and_other_drafters_are_served() -> None:
    async with serving(GrpcServerConfig(port=0)) as server, raw_call(server.port) as call:
        neighbour = await grpc_connect(f"127.0.0.1:{server.port}", GrpcClientConfig())()
        for garbage in (b"", b"\xff" * 100, encode_message(Cancel(300, 5))[:-1], b"GET / HTTP/1.1\r\n\r\n"):
            await call.write(garbage)
            frame = await call.read()
            assert isinstance(frame, bytes)
            (error,) = decode_verifier_frame(frame)
            assert isinstance(error, Error)
            assert error.code is ErrorCode.MALFORMED
        await neighbour.send([Cancel(1, 0)])
        assert await neighbour.receive() == [Opened(1, 0)]
        await neighbour.close()


async def test_an_oversized_frame_ends_its_link_and_other_drafters_are_served() -> None:
    async with serving(GrpcServerConfig(port=0)) as server, raw_call(server.port) as call:
        neighbour = await grpc_connect(f"127.0.0.1:{server.port}", GrpcClientConfig())()
        await call.write(bytes(MAX_FRAME_BYTES + 1))
        assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await neighbour.send([Cancel(1, 0)])
        assert await neighbour.receive() == [Opened(1, 0)]
        await neighbour.close()


async def test_a_drafter_that_vanishes_ends_its_serving() -> None:
    ended = asyncio.Event()

    async def accept(connection: Connection) -> None:
        await answer(connection)
        ended.set()

    async with serving(GrpcServerConfig(port=0), accept) as server, raw_call(server.port) as call:
        await call.write(encode_message(Cancel(1, 0)))
        await call.read()  # so that it is being served
        call.cancel()
        await ended.wait()


async def test_a_stopping_server_lets_open_links_end_within_its_grace() -> None:
    async with serving(GrpcServerConfig(port=0)) as server:
        connection = await grpc_connect(f"127.0.0.1:{server.port}", GrpcClientConfig())()
        stopping = asyncio.create_task(server.stop(20))
        await connection.send([Cancel(1, 0)])
        assert await connection.receive() == [Opened(1, 0)]
        await connection.close()
        await stopping
        with pytest.raises(LinkLostError):
            await talk(server.port, GrpcClientConfig())


async def test_a_stopped_server_ends_the_links_that_are_left() -> None:
    async with serving(GrpcServerConfig(port=0)) as server:
        connection = await grpc_connect(f"127.0.0.1:{server.port}", GrpcClientConfig())()
        await server.stop(0)
        with pytest.raises(LinkLostError):
            await connection.receive()
        await connection.close()


async def test_an_address_without_a_server_is_a_lost_link() -> None:
    async with serving(GrpcServerConfig(port=0)) as server:
        port = server.port
    with pytest.raises(LinkLostError, match="UNAVAILABLE"):
        await talk(port, GrpcClientConfig())


async def test_a_server_that_does_not_answer_is_a_lost_link() -> None:
    silent = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    with pytest.raises(LinkLostError):
        await talk(port, GrpcClientConfig(connect_timeout_s=0.2))
    silent.close()


async def test_a_port_in_use_is_a_config_error() -> None:
    async with serving(GrpcServerConfig(port=0)) as server:
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{server.port}"):
            await serve_grpc(answer, GrpcServerConfig(port=server.port))


@pytest.mark.parametrize(
    "config",
    [
        GrpcServerConfig(port=0, tls_cert="/nowhere.pem", tls_key="/nowhere.key"),
        GrpcServerConfig(port=0, tls_cert=path_of("server.pem")),
        GrpcServerConfig(port=0, token="a", token_file="b"),
        GrpcServerConfig(port=0, token_file="/nowhere"),
        GrpcServerConfig(port=0, token="nicht-älter"),
    ],
)
async def test_a_wrong_server_config_is_a_config_error(config: GrpcServerConfig) -> None:
    with pytest.raises(ConfigError):
        await serve_grpc(answer, config)


@pytest.mark.parametrize(
    "config",
    [
        GrpcClientConfig(tls_ca="/nowhere.pem"),
        GrpcClientConfig(tls_cert=path_of("client.pem")),
        GrpcClientConfig(token="two\nlines"),
    ],
)
def test_a_wrong_client_config_is_a_config_error(config: GrpcClientConfig) -> None:
    with pytest.raises(ConfigError):
        grpc_connect("127.0.0.1:1", config)

"""TLS of the gRPC transport: certificates of both ends, renewed ones, and wrong files."""

from pathlib import Path

import pytest
from tests.protocol.grpc_serving import TLS, path_of, serving, talk, tls_server

from goodspeed.errors import ConfigError, LinkLostError, ProtocolError
from goodspeed.protocol.grpc_client import grpc_connect
from goodspeed.protocol.grpc_config import GrpcClientConfig, GrpcServerConfig
from goodspeed.protocol.grpc_server import check_grpc


async def test_tls_protects_the_link() -> None:
    async with serving(tls_server()) as server:
        await talk(server.port, GrpcClientConfig(tls_ca=path_of("ca.pem")))
        await talk(server.port, GrpcClientConfig(tls_ca=path_of("ca.pem")), host="localhost")
        for config in (GrpcClientConfig(), GrpcClientConfig(tls=True)):  # no TLS; a CA that we do not trust
            with pytest.raises(LinkLostError):
                await talk(server.port, config)


async def test_renewed_certificates_and_tokens_serve_without_a_restart(tmp_path: Path) -> None:
    cert, key, token = (tmp_path / name for name in ("cert.pem", "key.pem", "token"))

    def install(name: str) -> None:
        cert.write_bytes((TLS / f"{name}.pem").read_bytes())
        key.write_bytes((TLS / f"{name}.key").read_bytes())

    token.write_text("old")
    config = GrpcServerConfig(port=0, tls_cert=str(cert), tls_key=str(key), token="new")
    install("client")  # does not name this host
    async with serving(config) as server:
        connect = grpc_connect(
            f"127.0.0.1:{server.port}", GrpcClientConfig(tls_ca=path_of("ca.pem"), token_file=str(token))
        )
        with pytest.raises(LinkLostError):
            await connect()
        install("server")
        with pytest.raises(ProtocolError, match="the bearer token is missing or wrong"):
            await connect()
        token.write_text("new")
        await (await connect()).close()
        cert.unlink()
        await (await connect()).close()  # the last certificate stays
        token.unlink()
        with pytest.raises(LinkLostError, match="cannot read"):
            await connect()


async def test_missing_tls_on_one_side_is_named() -> None:
    async with serving(tls_server()) as server:
        with pytest.raises(LinkLostError, match=r"the verifier may use TLS: set grpc\.tls or grpc\.tls_ca"):
            await talk(server.port, GrpcClientConfig())
    async with serving(GrpcServerConfig(port=0)) as server:
        with pytest.raises(LinkLostError, match="the verifier does not use TLS"):
            await talk(server.port, GrpcClientConfig(tls=True))


@pytest.mark.parametrize(
    ("cert", "key", "ca", "message"),
    [
        (
            "server.pem",
            "client.key",
            "",
            "server.pem' and .*client.key' are not a certificate and its private key: KEY_",
        ),
        ("server.key", "server.pem", "", "are not a certificate and its private key"),
        ("garbage", "server.key", "", "garbage' and .* are not a certificate"),
        ("server.pem", "encrypted.key", "", "the key is encrypted"),
        ("server.pem", "server.key", "server.key", "server.key' is not a file of CA certificates"),
        ("server.pem", "server.key", "garbage", "garbage' is not a file of CA certificates"),
    ],
)
def test_wrong_tls_files_are_named_before_anything_is_loaded(
    tmp_path: Path, cert: str, key: str, ca: str, message: str
) -> None:
    """gRPC says "Failed to bind to address" when the model is loaded."""
    (tmp_path / "garbage").write_text("-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n")

    def path(name: str) -> str:
        return str(tmp_path / name) if name == "garbage" else path_of(name) if name else ""

    with pytest.raises(ConfigError, match=message):
        check_grpc(GrpcServerConfig(port=0, tls_cert=path(cert), tls_key=path(key), tls_ca=path(ca)))
    with pytest.raises(ConfigError, match=message):
        grpc_connect("a:1", GrpcClientConfig(tls_cert=path(cert), tls_key=path(key), tls_ca=path(ca)))


async def test_client_certificates_can_be_required() -> None:
    async with serving(tls_server(tls_ca=path_of("ca.pem"))) as server:
        certified = GrpcClientConfig(
            tls_ca=path_of("ca.pem"), tls_cert=path_of("client.pem"), tls_key=path_of("client.key")
        )
        await talk(server.port, certified)
        with pytest.raises(LinkLostError):
            await talk(server.port, GrpcClientConfig(tls_ca=path_of("ca.pem")))

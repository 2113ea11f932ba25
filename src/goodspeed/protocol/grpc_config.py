"""Configuration of both ends of the gRPC transport, and the options and credentials that gRPC takes from it."""

import contextlib

import grpc

from goodspeed.config import config_dataclass, option, table
from goodspeed.credentials.secret import read_secret
from goodspeed.errors import ConfigError
from goodspeed.protocol.codec import MAX_FRAME_BYTES
from goodspeed.protocol.link_config import LinkConfig
from goodspeed.protocol.tls_files import read_ca, read_pair

SERVICE = "goodspeed.v1.GoodSpeed"
METHOD = "Connect"
ADMITTED_KEY = "goodspeed-version"
"""Key of the initial metadata with which the verifier admits a call. The value is the protocol version."""

MIN_KEEPALIVE_S = 1.0

ChannelOptions = list[tuple[str, int]]


@config_dataclass
class GrpcServerConfig:
    """The verifier's end of the gRPC transport."""

    host: str = option("127.0.0.1", "address to listen on; 0.0.0.0 for every interface (then use TLS and a token)")
    port: int = option(7700, "port to listen on; 0: any free port", ge=0, le=65535)
    tls_cert: str = option("", "PEM file with the server's certificate chain; turns TLS on")
    tls_key: str = option("", "PEM file with the server's private key")
    tls_ca: str = option(
        "",
        "PEM file with the CA of client certificates; drafters then need one, and a drafter's name is that of its "
        "certificate",
    )
    token: str = option("", "bearer token that all drafters share; any of them may then use any name", is_secret=True)
    token_file: str = option("", "file that holds the shared bearer token")
    credentials: str = option(
        "",
        "file of drafters' names and hashed tokens (`goodspeed credentials add`): each drafter has a token of its own, "
        "and with it its name; changes of the file take effect at once",
    )
    max_connections: int = option(1024, "drafters connected at once", ge=1)
    keepalive_s: float = option(20.0, "time without traffic after which a connection is probed", ge=MIN_KEEPALIVE_S)
    stall_s: float = option(10.0, "time without reading after which a drafter is disconnected", gt=0.0)

    def __post_init__(self) -> None:
        if self.credentials and (self.token or self.token_file):
            raise ConfigError("credentials and a shared token are both given, expected one of them")


@config_dataclass
class GrpcClientConfig:
    """The drafter's end of the gRPC transport."""

    tls: bool = option(False, "use TLS; trusts the CAs of the system unless tls_ca is set")
    tls_ca: str = option("", "PEM file with the CA that signed the verifier's certificate; turns TLS on")
    tls_cert: str = option("", "PEM file with this drafter's certificate chain, if the verifier requires one")
    tls_key: str = option("", "PEM file with this drafter's private key")
    token: str = option("", "bearer token for the verifier", is_secret=True)
    token_file: str = option("", "file that holds the bearer token; read again for every connection")
    connect_timeout_s: float = option(5.0, "longest time that connecting may take", gt=0.0)
    keepalive_s: float = option(20.0, "time without traffic after which a connection is probed", ge=MIN_KEEPALIVE_S)
    stall_s: float = option(10.0, "time without reading after which a verifier is considered lost", gt=0.0)
    link_seed: int = option(0, "seed of the emulated link", ge=0)
    link: LinkConfig = table(LinkConfig)


def bearer_token(config: GrpcServerConfig | GrpcClientConfig) -> str:
    """The bearer token or the contents of its file; empty: no token. Raises ConfigError."""
    return read_secret(config.token, config.token_file, "token")


def server_credentials(config: GrpcServerConfig) -> grpc.ServerCredentials | None:
    """None: no TLS. Every new connection gets what the files hold then. Raises ConfigError if one is wrong."""
    if not config.tls_cert and not config.tls_key and not config.tls_ca:
        return None
    if not (config.tls_cert and config.tls_key):
        raise ConfigError("TLS needs both tls_cert and tls_key")
    latest = first = _server_certificates(config)

    def fetch() -> grpc.ServerCertificateConfiguration:
        nonlocal latest
        with contextlib.suppress(ConfigError):  # a renewal may be under way: the last certificates stay
            latest = _server_certificates(config)
        return latest

    return grpc.dynamic_ssl_server_credentials(first, fetch, require_client_authentication=bool(config.tls_ca))


def _server_certificates(config: GrpcServerConfig) -> grpc.ServerCertificateConfiguration:
    pair = read_pair(config.tls_cert, config.tls_key)
    return grpc.ssl_server_certificate_configuration([pair], read_ca(config.tls_ca) if config.tls_ca else None)


def channel_credentials(config: GrpcClientConfig) -> grpc.ChannelCredentials | None:
    """None: no TLS. Raises ConfigError if a file cannot be read or is wrong."""
    if not (config.tls or config.tls_ca or config.tls_cert or config.tls_key):
        return None
    if bool(config.tls_cert) != bool(config.tls_key):
        raise ConfigError("a client certificate needs both tls_cert and tls_key")
    key, cert = read_pair(config.tls_cert, config.tls_key) if config.tls_cert else (None, None)
    return grpc.ssl_channel_credentials(read_ca(config.tls_ca) if config.tls_ca else None, key, cert)


def channel_options(keepalive_s: float) -> ChannelOptions:
    """gRPC channel options of both ends."""
    keepalive_ms = round(keepalive_s * 1000)
    return [
        ("grpc.max_receive_message_length", MAX_FRAME_BYTES),
        ("grpc.max_send_message_length", MAX_FRAME_BYTES),
        ("grpc.keepalive_time_ms", keepalive_ms),
        ("grpc.keepalive_timeout_ms", keepalive_ms),
        # What the peer may do: its keepalive_s is its own. gRPC would end the link of one that probes more often.
        ("grpc.http2.min_ping_interval_without_data_ms", round(MIN_KEEPALIVE_S * 500)),
        ("grpc.http2.max_pings_without_data", 0),
        (
            "grpc.http2.bdp_probe",
            0,
        ),  # its pings cost bytes in every round, and frames are too small to need a window estimate
        ("grpc.so_reuseport", 0),  # a port in use is an error
        ("grpc.use_local_subchannel_pool", 1),  # one TCP connection per link
        ("grpc.enable_retries", 0),  # the session resumes by itself
    ]

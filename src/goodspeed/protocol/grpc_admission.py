"""Who may call the verifier over gRPC, and under which names: tokens and client certificates."""

import hmac
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import grpc

from goodspeed.credentials.credentials_file import CredentialsFile
from goodspeed.errors import ErrorCode, ProtocolError
from goodspeed.protocol.grpc_config import GrpcServerConfig, bearer_token
from goodspeed.protocol.transport import PeerIdentity

COMMON_NAME = "x509_common_name"
ALTERNATIVE_NAMES = "x509_subject_alternative_name"


class GrpcAdmission:
    """Checks the token and the certificate of a call.

    A shared token proves no name. A token of the credentials file proves one. A client certificate proves its
    subject alternative names or, if it has none, its common name. With both, a name needs both.
    """

    def __init__(self, config: GrpcServerConfig) -> None:
        """Raises ConfigError if the token or the credentials cannot be read."""
        self.credentials = CredentialsFile(Path(config.credentials)) if config.credentials else None
        self._shared_token = bearer_token(config).encode()
        self._needs_certificate = bool(config.tls_ca)

    def identify(self, context: grpc.aio.ServicerContext[bytes, bytes]) -> PeerIdentity:
        """The caller's identity. Raises ProtocolError (UNAUTHENTICATED)."""
        token = _token_of(context)
        certified = _certified_names(context.auth_context()) if self._needs_certificate else None
        if self.credentials is None:
            if self._shared_token and not hmac.compare_digest(token, self._shared_token):
                raise _refusal("the bearer token is missing or wrong")
            return PeerIdentity(certified)
        access = self.credentials.admit(token)
        if access is None:
            raise _refusal("the bearer token is missing, wrong or revoked")
        if certified is not None and access.name not in certified:
            raise _refusal(f"the token is that of {access.name!r}, the certificate is not")
        return PeerIdentity(frozenset({access.name}), access.revoked)


def _token_of(context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
    """Empty: the call has no bearer token."""
    header = str(dict(context.invocation_metadata() or ()).get("authorization", ""))
    return header.removeprefix("Bearer ").encode() if header.startswith("Bearer ") else b""


def _certified_names(auth_context: Mapping[str, Iterable[Any]]) -> frozenset[str]:
    """The names of the caller's certificate. A common name beside alternative ones proves nothing (RFC 9525)."""
    names = [*auth_context.get(ALTERNATIVE_NAMES, ())] or [*auth_context.get(COMMON_NAME, ())]
    return frozenset(name.decode("utf-8", "replace") for name in names)


def _refusal(reason: str) -> ProtocolError:
    return ProtocolError(ErrorCode.UNAUTHENTICATED, reason)

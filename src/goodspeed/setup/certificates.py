"""Certificates for a verifier of one's own: a certificate authority (CA), and server certificates that it signs.

The keys are of the curve P-256, which every TLS library supports.
"""

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from goodspeed.errors import ConfigError

CA_VALIDITY = timedelta(days=3650)
SERVER_VALIDITY = timedelta(days=730)
CLOCK_SKEW = timedelta(hours=1)
"""A certificate is valid this long before it was made: clocks differ."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, both in PEM."""

    certificate: bytes
    key: bytes


def make_ca(name: str) -> KeyPair:
    """A self-signed certificate authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(name, name, key, CA_VALIDITY).add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
    usage = _key_usage(is_ca=True)
    return _pair(builder.add_extension(usage, True).sign(key, hashes.SHA256()), key)


def make_server_certificate(ca: KeyPair, host: str) -> KeyPair:
    """A certificate for a server at this name or IP address, and at localhost. Raises ConfigError for a wrong CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    ca_key, issuer = _private_key(ca.key), _certificate(ca.certificate).subject
    builder = _builder(host, "", key, SERVER_VALIDITY).issuer_name(issuer)
    names = x509.SubjectAlternativeName(list(dict.fromkeys([_general_name(host), _general_name("localhost")])))
    builder = builder.add_extension(names, False).add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
    server = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    builder = builder.add_extension(_key_usage(is_ca=False), True).add_extension(server, False)
    return _pair(builder.sign(ca_key, hashes.SHA256()), key)


def expiry(pem: bytes) -> datetime:
    """Until when the first certificate is valid. Raises ConfigError if it is none."""
    return _certificate(pem).not_valid_after_utc


def host_names(pem: bytes) -> list[str]:
    """The names and IP addresses that the first certificate is for. Raises ConfigError if it is none."""
    try:
        names = _certificate(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]


def read_pair(certificate: Path, key: Path) -> KeyPair:
    """Raises ConfigError if a file cannot be read."""
    try:
        return KeyPair(certificate.read_bytes(), key.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read {error.filename}: {error.strerror}") from error


def _builder(
    subject: str, issuer: str, key: ec.EllipticCurvePrivateKey, validity: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(_name(subject)).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - CLOCK_SKEW).not_valid_after(now + validity)
    return builder.issuer_name(_name(issuer)) if issuer else builder


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, is_ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_ca,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> KeyPair:
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return KeyPair(certificate.public_bytes(pem), private)


def _certificate(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise ConfigError(f"no certificate in PEM: {error}") from error


def _private_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"no private key in PEM: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError("the CA's key is not one of an elliptic curve")
    return key

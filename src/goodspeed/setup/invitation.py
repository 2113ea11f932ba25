"""What a verifier's operator gives to a drafter's: one line that holds the address, the name, the token and the CA."""

import base64
import binascii
import zlib

import msgspec
from msgspec import Struct

from goodspeed.errors import ConfigError

PREFIX = "goodspeed1."
MAX_BYTES = 1 << 16


class Invitation(Struct, frozen=True):
    """What a drafter needs to connect. It is a secret: it holds the drafter's token."""

    name: str
    """The drafter's name."""
    verifier: str
    """host:port"""
    model: str
    """The target model, whose tokenizer the drafter needs."""
    token: str
    ca: str
    """Certificate of the CA that signed the verifier's, in PEM."""

    def line(self) -> str:
        """The invitation as a line of printable characters."""
        return PREFIX + base64.urlsafe_b64encode(zlib.compress(msgspec.json.encode(self), 9)).decode()


def read_invitation(line: str) -> Invitation:
    """Raises ConfigError, without the line, if it is no invitation or incomplete."""
    text = "".join(line.split())  # a terminal may have wrapped it
    if not text.startswith(PREFIX):
        raise ConfigError(f"an invitation starts with {PREFIX!r}; `goodspeed init verifier` prints one")
    try:
        unzip = zlib.decompressobj()
        data = unzip.decompress(base64.urlsafe_b64decode(text.removeprefix(PREFIX)), MAX_BYTES)
        if not unzip.eof:
            raise ConfigError("the invitation is incomplete")
        return msgspec.json.decode(data, type=Invitation)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise ConfigError(f"the invitation is damaged or incomplete: {type(error).__name__}") from error

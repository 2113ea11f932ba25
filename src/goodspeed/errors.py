"""Every error that a user, a file or a peer can cause.

GoodSpeedError
├── ConfigError          a configuration file or a flag
├── CheckpointError      model files: missing, truncated, of an unknown kind
├── DataError            a data file (data set, event log): missing, damaged, foreign, or it cannot be written
├── RequestError         a user's request (a field, a length, a model name)
├── CapacityError        no capacity at present: memory, streams, queue
├── ProtocolError        a peer broke the protocol; closes one stream or one session
├── StartError           a server that this process started did not come up, or stopped
└── LinkLostError        the connection to a peer ended
"""

from enum import IntEnum


class GoodSpeedError(Exception):
    """Base of all errors with a cause outside this program; the message names the value and what was expected."""


class ConfigError(GoodSpeedError):
    """A configuration file or a flag is wrong."""


class CheckpointError(GoodSpeedError):
    """Model files are missing, truncated or of an unknown kind."""


class DataError(GoodSpeedError):
    """A data set or an event log is missing, damaged, of another format or tokenizer, or cannot be written."""


class RequestError(GoodSpeedError):
    """A user's request is wrong. `field` is the name of the wrong field; None: no single field is wrong."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class CapacityError(GoodSpeedError):
    """There is no capacity at present; the same request may succeed later."""


class ErrorCode(IntEnum):
    """Reasons that travel in an Error or Refused message (goodspeed.proto describes each; the numbers never change)."""

    INTERNAL = 0
    MALFORMED = 1
    VERSION = 2
    UNAUTHENTICATED = 3
    TOKENIZER_MISMATCH = 4
    OUT_OF_ORDER = 5
    UNKNOWN_STREAM = 6
    STALE_EPOCH = 7
    WRONG_ROUND = 8
    DIVERGED = 9
    OVER_GRANT = 10
    BAD_TOKEN = 11
    BAD_REQUEST = 12
    CAPACITY = 13
    LEASE_EXPIRED = 14
    SUPERSEDED = 15
    SHUTTING_DOWN = 16
    UNKNOWN_PREFIX = 17


class ProtocolError(GoodSpeedError):
    """A peer broke the protocol. `stream` is the id of the stream to close; None: the session is closed.

    `epoch`: only this epoch of the stream is closed; None: whichever is open.
    """

    def __init__(self, code: ErrorCode, message: str, stream: int | None = None, epoch: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.stream = stream
        self.epoch = epoch


class StartError(GoodSpeedError):
    """A server that this process started did not come up, or stopped; the message ends with the tail of its log."""


class LinkLostError(GoodSpeedError):
    """The connection to a peer ended, in order or not."""

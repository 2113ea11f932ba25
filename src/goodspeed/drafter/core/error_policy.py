"""How a drafter reacts to an Error that concerns one stream."""

from enum import Enum, auto

from goodspeed.errors import ErrorCode, GoodSpeedError, ProtocolError, RequestError


class ErrorAction(Enum):
    """What happens to the stream."""

    REOPEN = auto()
    """The two ends disagree, or the verifier has lost the stream: open it again, at most once per link."""
    RETRY = auto()
    """The verifier has no room: open it again after a pause, there or elsewhere."""
    FAIL = auto()
    """The user gets the error."""


_REOPEN = {
    ErrorCode.INTERNAL,
    ErrorCode.OUT_OF_ORDER,
    ErrorCode.UNKNOWN_STREAM,
    ErrorCode.STALE_EPOCH,
    ErrorCode.WRONG_ROUND,
    ErrorCode.DIVERGED,
    ErrorCode.OVER_GRANT,
    ErrorCode.LEASE_EXPIRED,
    ErrorCode.UNKNOWN_PREFIX,
}


def action_for(code: ErrorCode) -> ErrorAction:
    if code in _REOPEN:
        return ErrorAction.REOPEN
    return ErrorAction.RETRY if code is ErrorCode.CAPACITY else ErrorAction.FAIL


def user_error(code: ErrorCode, reason: str) -> GoodSpeedError:
    """The error that the user of a failed stream gets."""
    if code is ErrorCode.BAD_REQUEST:
        return RequestError(reason)
    return ProtocolError(code, f"the verifier has ended the stream: {reason}")

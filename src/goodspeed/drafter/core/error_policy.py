"""What a drafter does about an Error of one stream."""

from enum import Enum, auto

from goodspeed.errors import ErrorCode, GoodSpeedError, ProtocolError, RequestError


class ErrorAction(Enum):
    """Ways to go on, or not."""

    REOPEN = auto()
    """The ends disagree, or the verifier has lost the stream: open it again with what is committed, once a link."""
    RETRY = auto()
    """There is no room now: open it again after a pause."""
    FAIL = auto()


_REOPEN = {
    ErrorCode.INTERNAL,
    ErrorCode.OUT_OF_ORDER,
    ErrorCode.UNKNOWN_STREAM,
    ErrorCode.STALE_EPOCH,
    ErrorCode.WRONG_ROUND,
    ErrorCode.DIVERGED,
    ErrorCode.OVER_GRANT,
    ErrorCode.LEASE_EXPIRED,
}


def action_for(code: ErrorCode) -> ErrorAction:
    if code in _REOPEN:
        return ErrorAction.REOPEN
    return ErrorAction.RETRY if code is ErrorCode.CAPACITY else ErrorAction.FAIL


def user_error(code: ErrorCode, reason: str) -> GoodSpeedError:
    """What the user is told when the stream fails."""
    if code is ErrorCode.BAD_REQUEST:
        return RequestError(reason)
    return ProtocolError(code, f"the verifier has ended the stream: {reason}")

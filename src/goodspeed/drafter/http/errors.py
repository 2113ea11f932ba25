"""Errors in OpenAI's form."""

from goodspeed.errors import CapacityError, GoodSpeedError, LinkLostError, RequestError

RETRY_AFTER_S = "2"
"""When a client may try again what is not possible at present; drafters reconnect within seconds."""


class ApiError(GoodSpeedError):
    """A response with an HTTP status of 400 or more. `param` names the wrong field, `code` the kind of error."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the response beside its content type."""
        return {"retry-after": RETRY_AFTER_S} if self.status == 503 else {}

    def body(self) -> dict[str, object]:
        """The body that OpenAI's clients expect."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


def api_error(error: GoodSpeedError) -> ApiError:
    """The response to one of our errors."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, RequestError):
        return ApiError(400, str(error), error.field)
    if isinstance(error, CapacityError | LinkLostError):
        return ApiError(503, str(error), code="unavailable")
    return ApiError(502, str(error), code="verifier_error")

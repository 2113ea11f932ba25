"""The admin API of a drafter: shows the draft engine and replaces it.

It is open to the operator's key or, where no keys are needed, to clients on this machine.
"""

import json
import logging
from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from goodspeed.config import from_mapping
from goodspeed.drafter.draft_swap import SwappableDraft
from goodspeed.drafter.http.access import check_operator
from goodspeed.drafter.http.errors import ApiError
from goodspeed.engine.drafts import DraftConfig
from goodspeed.errors import CheckpointError, ConfigError

log = logging.getLogger(__name__)


class AdminPages:
    """GET and POST /admin/draft."""

    def __init__(self, draft: SwappableDraft) -> None:
        self._draft = draft

    async def draft(self, request: Request) -> Response:
        """The body of a POST has fields of DraftConfig; the others keep their values. `{}` loads the engine again."""
        check_operator(request)
        if request.method == "POST":
            await self._swap(request)
        config = self._draft.config
        return JSONResponse({"draft": config.name, "swaps": self._draft.num_swaps, "config": asdict(config)})

    async def _swap(self, request: Request) -> None:
        changes = await _body(request)
        try:
            await self._draft.swap(from_mapping(DraftConfig, {**asdict(self._draft.config), **changes}))
        except (ConfigError, CheckpointError) as error:
            raise _draft_error(str(error)) from error
        except (MemoryError, OSError, OverflowError, RuntimeError, ValueError) as error:
            log.warning("draft engine not loaded", extra={"ids": {"reason": error}})
            raise _draft_error(f"it cannot be loaded with {changes}: {error}") from error


def _draft_error(reason: str) -> ApiError:
    return ApiError(400, f"the draft engine was not replaced: {reason}", code="draft_error")


async def _body(request: Request) -> dict[str, object]:
    # A web page in a browser cannot send this content type to another origin without asking it first.
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise ApiError(415, "the body must have the content type application/json")
    try:
        body = json.loads(await request.body())
    except ValueError as error:
        raise ApiError(400, f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise ApiError(400, f"the body is {body!r}, expected an object with fields of the draft's config")
    return body

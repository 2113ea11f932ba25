"""What an operator asks of a drafter: which draft engine drafts, and another one in its place.

Who may: those with the API key; where there is none, those on this machine.
"""

import ipaddress
import json
from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from goodspeed.config import from_mapping
from goodspeed.drafter.draft_swap import SwappableDraft
from goodspeed.drafter.http.errors import ApiError
from goodspeed.engine.drafts import DraftConfig
from goodspeed.errors import CheckpointError, ConfigError


class AdminPages:
    """GET and POST /admin/draft."""

    def __init__(self, slot: SwappableDraft, *, is_keyed: bool) -> None:
        self._slot = slot
        self._is_keyed = is_keyed

    async def draft(self, request: Request) -> Response:
        """Of a POST, the body has fields of DraftConfig; what it does not name stays. `{}` loads the same anew."""
        if not self._is_keyed:
            _check_loopback(request)
        if request.method == "POST":
            await self._swap(request)
        shown = {"draft": self._slot.config.name, "swaps": self._slot.num_swaps, "config": asdict(self._slot.config)}
        return JSONResponse(shown)

    async def _swap(self, request: Request) -> None:
        wanted = await _body(request)
        try:
            await self._slot.swap(from_mapping(DraftConfig, {**asdict(self._slot.config), **wanted}))
        except (ConfigError, CheckpointError) as error:
            raise ApiError(400, f"the draft engine stays as it was: {error}", code="draft_error") from error


async def _body(request: Request) -> dict[str, object]:
    # A web page in somebody's browser cannot send this type to another origin unasked.
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise ApiError(415, "the body must have the content type application/json")
    try:
        body = json.loads(await request.body())
    except ValueError as error:
        raise ApiError(400, f"the body is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise ApiError(400, f"the body is {body!r}, expected an object with fields of the draft's config")
    return body


def _check_loopback(request: Request) -> None:
    host = request.client.host if request.client else ""
    try:
        is_here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_here = False
    if not is_here:
        raise ApiError(403, f"without an API key only this machine may ask, not {host!r}", code="forbidden")

"""What the HTTP edge stands on."""

from dataclasses import dataclass

from goodspeed.drafter.draft_swap import SwappableDraft
from goodspeed.drafter.http.errors import ApiError
from goodspeed.drafter.server import DrafterServer
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.protocol.messages import Welcome

ANY_MODEL = "default"
"""A name for whatever model the verifier serves."""


@dataclass(frozen=True, slots=True)
class ApiService:
    """The draft server, and how it is shown."""

    server: DrafterServer
    tokenizer: Tokenizer
    max_tokens: int
    """Length of an answer whose request does not say."""
    meet_s: float
    """How long a request waits for the first verifier."""
    api_key: str = ""
    """Empty: everybody may ask."""
    slot: SwappableDraft | None = None
    """Of the draft engine, where it can be exchanged."""

    async def welcome_of(self, model: str) -> Welcome:
        """Of the verifier that serves this model. Raises ApiError if there is none, LinkLostError without verifier."""
        welcome = await self.server.meet(self.meet_s)
        if model not in {welcome.model, ANY_MODEL}:
            message = f"the model {model!r} does not exist here; there is {welcome.model!r}"
            raise ApiError(404, message, "model", "model_not_found")
        return welcome

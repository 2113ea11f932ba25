"""What the HTTP API is made of."""

from dataclasses import dataclass

from goodspeed.credentials.credentials_file import CredentialsFile
from goodspeed.decoding.mode import Mode
from goodspeed.drafter.draft_swap import SwappableDraft
from goodspeed.drafter.http.errors import ApiError
from goodspeed.drafter.http.tool_calls.formats import AUTO, ToolFormat, find_format
from goodspeed.drafter.live_feed import LiveFeed
from goodspeed.drafter.server import DrafterServer
from goodspeed.engine.grammar.grammars import Grammars
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.protocol.messages import Welcome

ANY_MODEL = "default"
"""A model name that stands for the model that the verifier serves."""


@dataclass(frozen=True, slots=True)
class ApiService:
    """The draft server and the settings of its HTTP API."""

    server: DrafterServer
    tokenizer: Tokenizer
    max_tokens: int
    """Maximum length of an answer whose request sets none."""
    meet_s: float
    """How long a request waits for the first verifier."""
    api_key: str = ""
    """The operator's key; empty: there is none."""
    api_credentials: CredentialsFile | None = None
    """Named keys. Without these and the operator's requests need no key."""
    draft: SwappableDraft | None = None
    """The draft engine if it can be replaced over HTTP."""
    cors_origins: tuple[str, ...] = ()
    """Origins of web pages that may use the API; "*": all."""
    comment_s: float = 15.0
    """After so long a silence a streamed response has a comment."""
    max_requests: int = 1024
    """Requests in progress at once."""
    grammars: Grammars | None = None
    """Of constrained answers; None: they are refused."""
    live_feed: LiveFeed | None = None
    """What /live shows; None: there is no such page."""

    tool_parser: str = AUTO
    """The format in which the model writes tool calls, or AUTO."""

    @property
    def tool_format(self) -> ToolFormat:
        """Raises ApiError if it is not known."""
        found = find_format(self.tool_parser, self.tokenizer.tool_template)
        if found is None:
            reason = "tools cannot be used: the model's chat template shows no known format of tool calls"
            raise ApiError(400, f"{reason}; the drafter's option --tool-parser names one", "tools")
        return found

    async def welcome_of(self, model: str) -> Welcome:
        """The verifiers' limits. Raises ApiError if they serve another model, LinkLostError without a verifier."""
        welcome = await self.server.meet(self.meet_s)
        if model not in {welcome.model, ANY_MODEL}:
            message = f"model is {model!r}, which is not served; expected {welcome.model!r}"
            raise ApiError(404, message, "model", "model_not_found")
        return welcome

    def mode_of(self, requested: Mode) -> Mode:
        """The mode of a stream: a drafter without a draft engine leaves drafts to the verifier."""
        is_without_drafts = self.draft is not None and not self.draft.proposes
        return Mode.CO_LOCATED if is_without_drafts and requested is Mode.DISTRIBUTED else requested

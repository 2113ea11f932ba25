"""OpenAI's client of a drafter whose target writes given texts."""

import contextlib
from collections.abc import AsyncIterator, Callable

import openai

from goodspeed.testing.text_service import text_service
from goodspeed.testing.text_target import TextTarget


@contextlib.asynccontextmanager
async def serving(
    answer_to: Callable[[str], str], kind: str = "hermes", window: int = 4, target: type[TextTarget] = TextTarget
) -> AsyncIterator[openai.AsyncOpenAI]:
    """As text_service."""
    async with (
        text_service(answer_to, kind, window, target) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        yield client

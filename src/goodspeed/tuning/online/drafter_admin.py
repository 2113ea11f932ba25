"""The admin API of a running drafter: reading and replacing its draft over HTTP."""

from dataclasses import asdict
from typing import Any

import httpx

from goodspeed.config import from_mapping
from goodspeed.engine.drafts import DraftConfig
from goodspeed.errors import ConfigError, LinkLostError

TIMEOUT_S = 300.0  # the drafter loads the draft and feeds it the active streams before it answers


class HttpDrafterAdmin:
    """The endpoint /admin/draft of one drafter."""

    def __init__(self, url: str, api_key: str = "", transport: httpx.BaseTransport | None = None) -> None:
        """`url` has no path, for instance http://127.0.0.1:8000."""
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = httpx.Client(
            base_url=url, headers=headers, timeout=TIMEOUT_S, transport=transport, trust_env=False
        )

    def current(self) -> DraftConfig:
        """The drafter's current draft. Raises LinkLostError, or ConfigError if the drafter refuses the request."""
        return from_mapping(DraftConfig, self._request("GET", None)["config"])

    def swap(self, config: DraftConfig) -> None:
        """Replace the drafter's draft. Raises LinkLostError, or ConfigError if the drafter refuses it."""
        self._request("POST", asdict(config))

    def _request(self, method: str, body: dict[str, Any] | None) -> dict[str, Any]:
        try:
            reply = self._client.request(method, "/admin/draft", json=body)
        except httpx.HTTPError as error:
            raise LinkLostError(f"the drafter at {self._client.base_url} does not answer: {error}") from error
        if reply.status_code != httpx.codes.OK:
            raise ConfigError(f"the drafter at {self._client.base_url} answers {reply.status_code}: {reply.text}")
        content: dict[str, Any] = reply.json()
        return content

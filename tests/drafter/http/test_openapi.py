"""The OpenAPI document describes every page of the application, and the bodies as they are parsed."""

import json

import httpx
import msgspec
import pytest
from tests.drafter.live import LiveVerifier, api_of, drafter_at

from goodspeed.drafter.draft_swap import SwappableDraft
from goodspeed.drafter.http.openapi import OPERATIONS
from goodspeed.drafter.http.request_body import ChatBody
from goodspeed.engine.drafts import DraftConfig
from goodspeed.models.tokenizer import Tokenizer


@pytest.mark.parametrize("api_key", ["", "secret"])
async def test_every_page_is_described(tokenizer: Tokenizer, api_key: str) -> None:
    draft = SwappableDraft(DraftConfig(engine="none"), tokenizer)
    async with (
        LiveVerifier().running() as verifier,
        drafter_at([verifier]) as drafter,
        api_of(drafter, tokenizer, api_key, draft) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        document = (await client.get("/openapi.json")).json()
        assert set(document["paths"]) == set(OPERATIONS)
        for path, operations in document["paths"].items():
            for method in ("get", "post"):
                page = path.replace("{model}", "toy")
                async with client.stream(method, page, headers={"authorization": "Bearer secret"}) as response:
                    assert (response.status_code == 405) == (method not in operations), (method, path)
        assert ("security" in document) == bool(api_key)


def fields_of(schema: dict[str, object]) -> set[str]:
    properties = schema["properties"]
    assert isinstance(properties, dict)
    return set(properties)


async def test_bodies_are_those_that_are_parsed(tokenizer: Tokenizer) -> None:
    async with (
        LiveVerifier().running() as verifier,
        drafter_at([verifier]) as drafter,
        api_of(drafter, tokenizer) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        document = (await client.get("/openapi.json")).json()
    schema = document["components"]["schemas"]["ChatBody"]
    assert fields_of(schema) == {field.encode_name for field in msgspec.structs.fields(ChatBody)}
    assert "#/components/schemas/Tool" in json.dumps(schema["properties"]["tools"])

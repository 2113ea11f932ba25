"""The page's server beside a live verifier and drafter."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from tests.dashboard.live_page import live_page
from tests.drafter.live import until

from goodspeed.models.tokenizer import Tokenizer

BODY = {"model": "default", "prompt": "the quick brown", "max_tokens": 40, "temperature": 0}
RACE = {"client": "drafter", "prompt": "the quick brown", "max_tokens": 30}


async def events_until(lines: AsyncIterator[str], is_last: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    found = []
    async for line in lines:
        if line.startswith("data: "):
            found.append(json.loads(line.removeprefix("data: ")))
            if is_last(found[-1]):
                return found
    raise AssertionError("the events have ended")


def is_text_end(event: dict[str, Any]) -> bool:
    return event["type"] == "texts" and any(piece["finish"] for piece in event["pieces"])


async def test_viewer_gets_figures_of_both_servers_and_the_text_of_an_answer(tokenizer: Tokenizer) -> None:
    async with (
        live_page(tokenizer) as page,
        httpx.AsyncClient(timeout=30) as client,
        client.stream("GET", f"{page.url}/events") as feed,
    ):
        await until(lambda: "drafter" in page.reader.drafter_urls)
        lines = feed.aiter_lines()
        await events_until(lines, lambda event: bool(event["type"] == "refresh"))
        answer = (await client.post(f"{page.drafter}/v1/completions", json=BODY)).json()
        texts = await events_until(lines, is_text_end)
        later = await events_until(lines, lambda event: event["type"] == "refresh" and event["overview"]["clients"])
    pieces = [piece for event in texts if event["type"] == "texts" for piece in event["pieces"]]
    assert {piece["client"] for piece in pieces} == {"drafter"}
    assert "".join(text for piece in pieces for _, text in piece["parts"]) == answer["choices"][0]["text"]
    (shown,) = later[-1]["overview"]["clients"]
    assert shown["name"] == "drafter"
    assert shown["drafter"]["is_linked"]


async def test_servers_are_left_alone_without_a_viewer_and_a_new_one_gets_the_past(tokenizer: Tokenizer) -> None:
    async with live_page(tokenizer) as page, httpx.AsyncClient(timeout=30) as client:
        async with client.stream("GET", f"{page.url}/events") as feed:
            first = await events_until(feed.aiter_lines(), lambda event: bool(event["type"] == "refresh"))
        await until(lambda: page.reader.num_viewers == 0)
        assert page.reader.num_tasks == 0
        async with client.stream("GET", f"{page.url}/events") as feed:
            past = await events_until(feed.aiter_lines(), lambda event: bool(event["type"] == "refresh"))
    assert past[0] == first[-1]


async def test_race_has_the_same_text_in_both_lanes(tokenizer: Tokenizer) -> None:
    async with (
        live_page(tokenizer) as page,
        httpx.AsyncClient(timeout=30) as client,
        client.stream("GET", f"{page.url}/events"),
    ):
        await until(lambda: "drafter" in page.reader.drafter_urls)
        reply = await client.post(f"{page.url}/race", json=RACE)
    events = [json.loads(line) for line in reply.text.splitlines()]
    texts = {
        lane: "".join(each["text"] for each in events if each["lane"] == lane) for lane in ("goodspeed", "target_only")
    }
    assert len(texts["goodspeed"]) == 30
    assert texts["goodspeed"] == texts["target_only"]
    assert sorted(each["lane"] for each in events if each["num_tokens"] == 30) == ["goodspeed", "target_only"]


async def test_race_on_a_drafter_that_refuses_says_why(tokenizer: Tokenizer) -> None:
    async with (
        live_page(tokenizer) as page,
        httpx.AsyncClient(timeout=30) as client,
        client.stream("GET", f"{page.url}/events"),
    ):
        await until(lambda: "drafter" in page.reader.drafter_urls)
        reply = await client.post(f"{page.url}/race", json={**RACE, "prompt": "x" * 5000})
    errors = [json.loads(line)["error"] for line in reply.text.splitlines()]
    assert len(errors) == 2
    assert all("maximum context length" in error for error in errors)


@pytest.mark.parametrize(
    ("body", "status", "complaint"),
    [
        ({**RACE, "client": "nobody"}, 404, "nobody"),
        ({**RACE, "prompt": " "}, 400, "prompt is empty"),
        ({**RACE, "max_tokens": 0}, 400, "max_tokens is 0"),
        ({"prompt": "x"}, 400, "client"),
    ],
)
async def test_wrong_race_is_refused(tokenizer: Tokenizer, body: object, status: int, complaint: str) -> None:
    async with live_page(tokenizer) as page, httpx.AsyncClient() as client:
        reply = await client.post(f"{page.url}/race", json=body)
        assert (reply.status_code, complaint in reply.json()["error"]["message"]) == (status, True)
        form = await client.post(f"{page.url}/race", content=json.dumps(body), headers={"content-type": "text/plain"})
        assert form.status_code == 415


async def test_page_needs_its_password_if_it_has_one(tokenizer: Tokenizer) -> None:
    async with live_page(tokenizer, password="opensesame") as page, httpx.AsyncClient() as client:
        refused = await client.get(page.url)
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Basic realm="GoodSpeed"')
        assert (await client.get(page.url, auth=("any", "wrong"))).status_code == 401
        assert (await client.get(page.url, auth=("any", "opensesame"))).status_code == 200


async def test_page_without_a_password_is_closed_to_names_of_other_machines(tokenizer: Tokenizer) -> None:
    async with live_page(tokenizer) as page, httpx.AsyncClient() as client:
        assert (await client.get(page.url, headers={"host": "evil.example"})).status_code == 403
        shown = await client.get(page.url)
    assert shown.status_code == 200
    assert "default-src 'self'" in shown.headers["content-security-policy"]


async def test_drafters_with_an_api_key_are_read_with_it(tokenizer: Tokenizer) -> None:
    async with (
        live_page(tokenizer, api_key="secret") as page,
        httpx.AsyncClient(timeout=30) as client,
        client.stream("GET", f"{page.url}/events") as feed,
    ):
        await until(lambda: "drafter" in page.reader.drafter_urls)
        headers = {"authorization": "Bearer secret"}
        await client.post(f"{page.drafter}/v1/completions", json=BODY, headers=headers)
        assert await events_until(feed.aiter_lines(), is_text_end)

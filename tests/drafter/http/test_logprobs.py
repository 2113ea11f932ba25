"""Log-probabilities of the answer, of the prompt, and of the likeliest tokens, through OpenAI's client."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import openai
import pytest
from tests.drafter.http.scripted import scripted_target
from tests.drafter.live import LiveVerifier, api_of, drafter_at

from goodspeed.engine.toy_model import END_TOKEN, ToyModel
from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.models.tokenizer import Tokenizer

PROMPT = "the tree"


@contextlib.asynccontextmanager
async def api(tokenizer: Tokenizer, engine: ToyTarget | None = None) -> AsyncIterator[openai.AsyncOpenAI]:
    engine = engine or ToyTarget(toy_info(tokenizer.fingerprint))
    async with (
        LiveVerifier(engine, fingerprint=tokenizer.fingerprint).running() as verifier,
        drafter_at([verifier]) as drafter,
        api_of(drafter, tokenizer) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        yield client


async def complete(client: openai.AsyncOpenAI, **fields: Any) -> Any:
    body = {"model": "toy", "prompt": PROMPT, "max_tokens": 10, "temperature": 0, **fields}
    return await client.completions.create(**body)


def logprob_rows(text: str) -> npt.NDArray[np.float64]:
    """[len(text), vocab]: of the token after each; a token is a byte."""
    rows = ToyModel().logits(tuple(text.encode())).astype(np.float64)
    rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
    return rows


def picked(rows: npt.NDArray[np.float64], text: str) -> list[float]:
    return [float(row[token]) for row, token in zip(rows, text.encode(), strict=False)]


async def test_an_echoed_prompt_has_the_log_probabilities_of_its_tokens(tokenizer: Tokenizer) -> None:
    async with api(tokenizer) as client:
        (choice,) = (await complete(client, echo=True, logprobs=1)).choices
        assert choice.text.startswith(PROMPT)
        assert len(choice.text) == len(PROMPT) + 10
        assert "".join(choice.logprobs.tokens) == choice.text
        assert choice.logprobs.text_offset == list(range(len(choice.text)))
        first, *rest = choice.logprobs.token_logprobs
        assert first is None
        assert rest == pytest.approx(picked(logprob_rows(choice.text), choice.text[1:]), abs=1e-5)


async def test_likeliest_tokens_are_beside_the_chosen_one(tokenizer: Tokenizer) -> None:
    async with api(tokenizer) as client:
        (choice,) = (await complete(client, echo=True, logprobs=3)).choices
        first, *rest = choice.logprobs.top_logprobs
        assert first is None
        for row, token, by_text in zip(logprob_rows(choice.text), choice.text[1:], rest, strict=False):
            top = {chr(each): row[each] for each in np.argsort(-row)[:3].tolist()} | {token: row[ord(token)]}
            assert by_text == pytest.approx(top, abs=1e-5)


async def test_max_tokens_0_returns_the_prompt_alone(tokenizer: Tokenizer) -> None:
    async with api(tokenizer) as client:
        reply = await complete(client, echo=True, logprobs=1, max_tokens=0)
        (choice,) = reply.choices
        assert (choice.text, choice.finish_reason) == (PROMPT, "length")
        assert len(choice.logprobs.token_logprobs) == len(PROMPT)
        assert reply.usage.completion_tokens == 0


async def test_prompts_of_tokens_are_echoed_one_by_one(tokenizer: Tokenizer) -> None:
    """As lm-eval sends them."""
    prompts = [list(b"the tree"), list(b"a cat"), list(b"x")]
    async with api(tokenizer) as client:
        choices = (await complete(client, prompt=prompts, echo=True, logprobs=1, max_tokens=1)).choices
        for prompt, choice in zip(prompts, choices, strict=True):
            text = bytes(prompt).decode()
            assert choice.text[:-1] == text
            values = choice.logprobs.token_logprobs
            assert values[1:] == pytest.approx(picked(logprob_rows(choice.text), choice.text[1:]), abs=1e-5)


async def test_a_prompt_in_the_prefix_cache_has_its_log_probabilities_too(tokenizer: Tokenizer) -> None:
    async with api(tokenizer) as client:
        first = await complete(client, prompt=PROMPT * 10, echo=True, logprobs=1)
        cached = await complete(client, prompt=PROMPT * 10)
        second = await complete(client, prompt=PROMPT * 10, echo=True, logprobs=1)
        assert cached.usage.prompt_tokens_details.cached_tokens > 0
        assert second.usage.prompt_tokens_details.cached_tokens == 0
        assert second.choices[0].logprobs == first.choices[0].logprobs


async def test_a_streamed_echo_is_the_same(tokenizer: Tokenizer) -> None:
    async with api(tokenizer) as client:
        whole = (await complete(client, echo=True, logprobs=2)).choices[0]
        chunks = [chunk.choices[0] async for chunk in await complete(client, echo=True, logprobs=2, stream=True)]
        assert "".join(chunk.text for chunk in chunks) == whole.text
        parts = [chunk.logprobs for chunk in chunks if chunk.logprobs]
        for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
            assert joined(parts, name) == getattr(whole.logprobs, name)


def joined(parts: Sequence[Any], name: str) -> list[Any]:
    return [entry for part in parts for entry in getattr(part, name)]


async def test_an_echo_without_log_probabilities_is_text(tokenizer: Tokenizer) -> None:
    async with api(tokenizer) as client:
        (plain,) = (await complete(client)).choices
        (echoed,) = (await complete(client, echo=True, stop=["e tr"])).choices
        assert echoed.text == PROMPT + plain.text
        assert echoed.logprobs is None


async def test_the_end_token_has_the_last_log_probability(tokenizer: Tokenizer) -> None:
    """lm-eval drops the last one as that of the generated token: without it, it would drop the prompt's last."""
    engine = scripted_target(tokenizer.fingerprint, list(PROMPT.encode()), [END_TOKEN])
    async with api(tokenizer, engine) as client:
        (choice,) = (await complete(client, echo=True, logprobs=1, max_tokens=1)).choices
        assert choice.text == PROMPT
        assert choice.finish_reason == "stop"
        assert len(choice.logprobs.token_logprobs) == len(PROMPT) + 1


async def test_chat_reports_the_likeliest_tokens_with_their_bytes(tokenizer: Tokenizer) -> None:
    async with api(tokenizer) as client:
        reply = await client.chat.completions.create(
            model="toy",
            messages=[{"role": "user", "content": "x"}],
            max_tokens=8,
            temperature=0,
            logprobs=True,
            top_logprobs=20,
        )
        assert reply.choices[0].logprobs is not None
        for entry in reply.choices[0].logprobs.content or []:
            assert len(entry.top_logprobs) == 20
            values = [top.logprob for top in entry.top_logprobs]
            assert values == sorted(values, reverse=True)
            assert (entry.top_logprobs[0].token, entry.top_logprobs[0].logprob) == (entry.token, entry.logprob)
            assert all(top.bytes == list(top.token.encode()) for top in entry.top_logprobs[:5])


async def test_responses_report_the_likeliest_tokens(tokenizer: Tokenizer) -> None:
    async with api(tokenizer) as client:
        reply = await client.responses.create(
            model="toy",
            input="x",
            max_output_tokens=8,
            temperature=0,
            include=["message.output_text.logprobs"],
            top_logprobs=2,
        )
        content: Any = reply.output[0]
        entries = content.content[0].logprobs
        assert [entry.top_logprobs[0].token for entry in entries] == list(reply.output_text)


async def test_log_probabilities_are_those_before_penalties_and_biases(tokenizer: Tokenizer) -> None:
    async with api(tokenizer) as client:
        fields = {"logit_bias": {"101": 30}, "presence_penalty": 2.0}
        (choice,) = (await complete(client, echo=True, logprobs=0, **fields)).choices
        assert choice.text == PROMPT + 10 * "e"
        values = choice.logprobs.token_logprobs
        assert values[1:] == pytest.approx(picked(logprob_rows(choice.text), choice.text[1:]), abs=1e-5)

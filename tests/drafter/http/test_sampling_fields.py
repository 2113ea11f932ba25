"""Fields that change how tokens are chosen: text is that of the target with these changes, and ends where they say."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
import tokenizers
from tests.drafter.live import LiveVerifier, api_of, drafter_at

from goodspeed.decoding.logit_changes import BadWord, LogitChanges, TokenBias
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.drafter.http.sampling_fields import SamplingBody, sampling_of
from goodspeed.engine.toy_model import END_TOKEN
from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.testing.virtual_drafter import target_only_tokens

PROMPT = "the tree"
E = ord("e")


@contextlib.asynccontextmanager
async def completions(tokenizer: Tokenizer) -> AsyncIterator[Any]:
    """Its create method, with the fields of vLLM and llama.cpp as well."""
    engine = ToyTarget(toy_info(tokenizer.fingerprint))
    async with (
        LiveVerifier(engine, fingerprint=tokenizer.fingerprint).running() as verifier,
        drafter_at([verifier]) as drafter,
        api_of(drafter, tokenizer) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):

        async def create(**fields: Any) -> Any:
            body = {"temperature": 0.8, "seed": 5, **fields}
            return await client.completions.create(model="toy", prompt=PROMPT, max_tokens=40, extra_body=body)

        yield create


def expected(tokenizer: Tokenizer, changes: LogitChanges | None, min_p: float = 0.0) -> str:
    sampling = Sampling(0.8, seed=5, rule=Rule.COUPLED, min_p=min_p, logit_changes=changes)
    request = GenerationRequest(tuple(PROMPT.encode()), 40, sampling, (END_TOKEN,))
    return tokenizer.decode(target_only_tokens(request))


@pytest.mark.parametrize(
    ("fields", "changes"),
    [
        ({"presence_penalty": 1.5}, LogitChanges(presence_penalty=1.5)),
        ({"frequency_penalty": -0.5}, LogitChanges(frequency_penalty=-0.5)),
        ({"repetition_penalty": 1.3}, LogitChanges(repetition_penalty=1.3)),
        ({"repeat_penalty": 1.3}, LogitChanges(repetition_penalty=1.3)),
        ({"logit_bias": {"101": -100, "116": 3.5}}, LogitChanges(logit_bias=(TokenBias(E, -100), TokenBias(116, 3.5)))),
        ({"allowed_token_ids": [101, 116, 32]}, LogitChanges(allowed_tokens=(101, 116, 32))),
        ({"bad_words": ["e", "th"]}, LogitChanges(bad_words=(BadWord((E,)), BadWord(tuple(b"th"))))),
    ],
)
async def test_text_is_that_of_the_changed_target(
    tokenizer: Tokenizer, fields: dict[str, object], changes: LogitChanges
) -> None:
    async with completions(tokenizer) as create:
        reply = await create(**fields)
        assert reply.choices[0].text == expected(tokenizer, changes) != expected(tokenizer, None)


async def test_min_p_excludes_unlikely_tokens(tokenizer: Tokenizer) -> None:
    async with completions(tokenizer) as create:
        reply = await create(min_p=0.3)
        assert reply.choices[0].text == expected(tokenizer, None, min_p=0.3) != expected(tokenizer, None)


async def test_neutral_values_change_nothing(tokenizer: Tokenizer) -> None:
    neutral = {
        "presence_penalty": 0,
        "frequency_penalty": 0.0,
        "repetition_penalty": 1,
        "logit_bias": {},
        "min_p": 0,
        "min_tokens": 0,
        "bad_words": [],
        "allowed_token_ids": [],
        "stop_token_ids": [],
        "ignore_eos": False,
    }
    async with completions(tokenizer) as create:
        assert (await create(**neutral)).choices[0].text == expected(tokenizer, None)


async def test_an_ignored_end_token_does_not_end_the_answer(tokenizer: Tokenizer) -> None:
    bias = {str(END_TOKEN): 20}
    async with completions(tokenizer) as create:
        ended = await create(logit_bias=bias)
        ignored = await create(logit_bias=bias, ignore_eos=True)
        assert (ended.choices[0].finish_reason, ignored.choices[0].finish_reason) == ("stop", "length")
        assert ended.usage.completion_tokens < ignored.usage.completion_tokens == 40


async def test_nothing_ends_an_answer_before_its_min_tokens(tokenizer: Tokenizer) -> None:
    bias = {str(END_TOKEN): 20}
    async with completions(tokenizer) as create:
        assert (await create(logit_bias=bias)).usage.completion_tokens < 10
        assert (await create(logit_bias=bias, min_tokens=20)).usage.completion_tokens == 21
        text = expected(tokenizer, None)
        early = text[2]
        reply = await create(stop=[early], min_tokens=20)
        assert reply.choices[0].text == text[:20] + text[20:].split(early)[0]


async def test_a_stop_token_id_ends_the_answer_and_has_no_text(tokenizer: Tokenizer) -> None:
    text = expected(tokenizer, None)
    stop = text[12]
    async with completions(tokenizer) as create:
        reply = await create(stop_token_ids=[ord(stop)])
        assert reply.choices[0].text == text[: text.index(stop)]
        assert reply.choices[0].finish_reason == "stop"
        assert reply.usage.completion_tokens == text.index(stop) + 1


def test_a_bad_word_is_excluded_after_a_space_as_well() -> None:
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    backend.train_from_iterator(["cat cat"], tokenizers.trainers.BpeTrainer(show_progress=False))
    word_tokenizer = Tokenizer(backend, (), None)
    changes = sampling_of(SamplingBody(bad_words=["cat"]), Rule.COUPLED, word_tokenizer).logit_changes
    assert changes is not None
    assert [word_tokenizer.decode(word.tokens) for word in changes.bad_words] == ["cat", " cat"]

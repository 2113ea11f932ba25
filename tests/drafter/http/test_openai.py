"""OpenAI's own client against a live drafter, whose verifier has a toy target."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionChunk, ChatCompletionUserMessageParam
from tests.drafter.http.scripted import scripted_target
from tests.drafter.live import LiveVerifier, api_of, drafter_at

from goodspeed.decoding.mode import Mode
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.drafter.draft_swap import SwappableDraft
from goodspeed.drafter.http.service import ApiService
from goodspeed.drafter.server import DrafterServer
from goodspeed.engine.drafts import DraftConfig
from goodspeed.engine.interface import Outcome, Work
from goodspeed.engine.toy_model import END_TOKEN
from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.protocol.messages import RoundMode
from goodspeed.testing.virtual_drafter import target_only_tokens

HELLO: list[ChatCompletionUserMessageParam] = [{"role": "user", "content": "Why is the sky blue?"}]
START = END_TOKEN - 1  # <|im_start|>
COUPLED = Sampling(0.8, seed=5, rule=Rule.COUPLED)


@dataclass
class Site:
    """A user's client and the servers behind it."""

    client: openai.AsyncOpenAI
    drafter: DrafterServer
    verifier: LiveVerifier
    tokenizer: Tokenizer

    def target_only_text(self, prompt: list[int], max_tokens: int, sampling: Sampling = COUPLED) -> str:
        """The text of the target without drafts."""
        return self.tokenizer.decode(
            target_only_tokens(GenerationRequest(tuple(prompt), max_tokens, sampling, (END_TOKEN,)))
        )

    def target_only_chat(self, max_tokens: int, sampling: Sampling = COUPLED) -> str:
        return self.target_only_text(
            self.tokenizer.encode_chat([dict(message) for message in HELLO]), max_tokens, sampling
        )


@contextlib.asynccontextmanager
async def site(tokenizer: Tokenizer, engine: ToyTarget | None = None, api_key: str = "") -> AsyncIterator[Site]:
    engine = engine or ToyTarget(toy_info(tokenizer.fingerprint))
    async with (
        LiveVerifier(engine, fingerprint=tokenizer.fingerprint).running() as verifier,
        drafter_at([verifier]) as drafter,
        api_of(drafter, tokenizer, api_key) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=api_key or "none", max_retries=0) as client,
    ):
        yield Site(client, drafter, verifier, tokenizer)


async def test_chat_is_the_targets_own_text(tokenizer: Tokenizer) -> None:
    async with site(tokenizer) as at:
        reply = await at.client.chat.completions.create(
            model="toy", messages=HELLO, max_tokens=30, temperature=0.8, seed=5
        )
        (choice,) = reply.choices
        assert choice.message.role == "assistant"
        assert choice.message.content == at.target_only_chat(30)
        assert choice.finish_reason == "length"
        assert choice.logprobs is None
        assert reply.usage is not None
        assert reply.usage.completion_tokens == 30
        assert reply.usage.prompt_tokens == len(tokenizer.encode_chat([dict(message) for message in HELLO]))
        assert reply.object == "chat.completion"
        assert reply.model == "toy"


async def test_usage_counts_the_prompt_tokens_that_were_not_read_again(tokenizer: Tokenizer) -> None:
    async with site(tokenizer) as at:
        usages = []
        prompt = "Tell me a long story about a fox."
        for _ in range(2):
            reply = await at.client.completions.create(
                model="toy", prompt=prompt, n=2, temperature=0.8, seed=5, max_tokens=20
            )
            usages.append(reply.usage)
        first, second = [usage.prompt_tokens_details for usage in usages if usage]
        assert first is not None
        assert second is not None
        assert (first.cached_tokens, second.cached_tokens) == (0, len(prompt) - 1)  # a token is a byte here


@pytest.mark.parametrize("stream", [False, True])
async def test_drafts_and_times_are_in_the_usage_and_in_llama_cpps_timings(tokenizer: Tokenizer, stream: bool) -> None:
    async with site(tokenizer) as at:
        fields: dict[str, Any] = {"model": "toy", "prompt": "the tree", "n": 2, "max_tokens": 40, "seed": 5}
        options: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
        reply: Any = await at.client.completions.create(**fields, **options)
        if stream:
            reply = [chunk async for chunk in reply][-1]
        assert reply.usage is not None
        details = reply.usage.completion_tokens_details
        assert details is not None
        counts, timings = (reply.model_extra or {})["goodspeed"], (reply.model_extra or {})["timings"]
        assert details.accepted_prediction_tokens == counts["accepted"] + counts["co_located_accepted"] > 0
        assert (
            details.rejected_prediction_tokens
            == counts["proposed"] + counts["co_located"] - timings["draft_n_accepted"]
        )
        assert timings["draft_n"] == counts["proposed"] + counts["co_located"]
        assert (timings["cache_n"], timings["prompt_n"], timings["predicted_n"]) == (0, 8, 80)
        assert min(timings["prompt_ms"], timings["predicted_ms"]) > 0.0
        assert timings["predicted_per_second"] == pytest.approx(80_000 / timings["predicted_ms"])


async def test_streamed_chat_is_the_same_text(tokenizer: Tokenizer) -> None:
    async with site(tokenizer) as at:
        chunks = [
            chunk
            async for chunk in await at.client.chat.completions.create(
                model="toy",
                messages=HELLO,
                max_completion_tokens=30,
                temperature=0.8,
                seed=5,
                stream=True,
                stream_options={"include_usage": True},
            )
        ]
        assert chunks[0].choices[0].delta.role == "assistant"
        assert text_of(chunks) == at.target_only_chat(30)
        assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]][-1] == "length"
        assert len({chunk.id for chunk in chunks}) == 1
        *parts, last = chunks
        assert all(chunk.usage is None for chunk in parts)
        assert last.choices == []
        assert last.usage is not None
        assert last.usage.completion_tokens == 30


async def test_stream_without_usage_ends_with_its_finish(tokenizer: Tokenizer) -> None:
    async with site(tokenizer) as at:
        chunks = [
            chunk
            async for chunk in await at.client.chat.completions.create(
                model="toy", messages=HELLO, max_tokens=10, temperature=0, stream=True
            )
        ]
        assert chunks[-1].choices[0].finish_reason == "length"
        assert text_of(chunks) == at.target_only_chat(10, Sampling())


async def test_chunk_with_the_finish_has_no_text(tokenizer: Tokenizer) -> None:
    """vllm#35705."""
    async with site(tokenizer) as at:
        stream = await at.client.chat.completions.create(
            model="toy", messages=HELLO, max_tokens=10, temperature=0, stream=True, n=2, logprobs=True
        )
        choices = [chunk.choices[0] async for chunk in stream]
        finished = [choice for choice in choices if choice.finish_reason]
        assert [(choice.delta.content, choice.logprobs) for choice in finished] == [(None, None)] * 2
        entries = [entry for choice in choices if choice.logprobs for entry in choice.logprobs.content or []]
        assert len(entries) == 20
        completion = await at.client.completions.create(
            model="toy", prompt="x", max_tokens=10, temperature=0, stream=True
        )
        assert [part.choices[0].text async for part in completion if part.choices[0].finish_reason] == [""]


async def test_completion_takes_the_prompt_as_it_is(tokenizer: Tokenizer) -> None:
    async with site(tokenizer) as at:
        reply = await at.client.completions.create(model="toy", prompt="Once upon", temperature=0)
        assert reply.choices[0].text == at.target_only_text(list(b"Once upon"), 16, Sampling())
        assert reply.object == "text_completion"
        by_ids = await at.client.completions.create(model="toy", prompt=list(b"Once upon"), temperature=0)
        assert by_ids.choices[0].text == reply.choices[0].text
        chunks = [
            chunk.choices[0]
            async for chunk in await at.client.completions.create(
                model="toy", prompt="Once upon", temperature=0, stream=True
            )
        ]
        assert "".join(chunk.text for chunk in chunks) == reply.choices[0].text
        assert chunks[-1].finish_reason == "length"


async def test_several_prompts_and_choices_have_their_indexes_and_seeds(tokenizer: Tokenizer) -> None:
    async with site(tokenizer) as at:
        reply = await at.client.completions.create(
            model="toy", prompt=["one", "two"], n=2, seed=5, temperature=0.8, max_tokens=20
        )
        expected = [
            at.target_only_text(list(prompt), 20, replace(COUPLED, seed=seed))
            for prompt in (b"one", b"two")
            for seed in (5, 6)
        ]
        assert [choice.text for choice in reply.choices] == expected
        assert [choice.index for choice in reply.choices] == [0, 1, 2, 3]
        assert reply.usage is not None
        assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (6, 80)


async def test_streamed_choices_come_side_by_side(tokenizer: Tokenizer) -> None:
    async with site(tokenizer) as at:
        stream = await at.client.chat.completions.create(
            model="toy", messages=HELLO, n=3, seed=5, temperature=0.8, max_tokens=20, stream=True
        )
        chunks = [chunk async for chunk in stream]
        texts = [text_of(chunks, index) for index in range(3)]
        assert texts == [at.target_only_chat(20, replace(COUPLED, seed=seed)) for seed in (5, 6, 7)]
        assert sum(chunk.choices[0].delta.role == "assistant" for chunk in chunks) == 3


async def test_seed_determines_the_text(tokenizer: Tokenizer) -> None:
    async with site(tokenizer) as at:
        texts = [await chat_text(at, seed=seed) for seed in (1, 1, 2, -1, -1)]
        assert texts[0] == texts[1]
        assert texts[3] == texts[4]
        assert len(set(texts)) == 3
        assert await chat_text(at) != await chat_text(at)  # drawn at random


@pytest.mark.parametrize("stream", [False, True])
async def test_stop_string_ends_the_text_before_it(tokenizer: Tokenizer, stream: bool) -> None:
    async with site(tokenizer) as at:
        whole = at.target_only_chat(60, Sampling())
        stop = whole[20:24]
        expected = whole[: whole.index(stop)]
        if stream:
            chunks = [
                chunk
                async for chunk in await at.client.chat.completions.create(
                    model="toy",
                    messages=HELLO,
                    max_tokens=60,
                    temperature=0,
                    stop=[stop, "~"],
                    stream=True,
                    stream_options={"include_usage": True},
                )
            ]
            assert text_of(chunks) == expected
            assert chunks[-2].choices[0].finish_reason == "stop"
            usage = chunks[-1].usage
        else:
            reply = await at.client.chat.completions.create(
                model="toy", messages=HELLO, max_tokens=60, temperature=0, stop=[stop, "~"]
            )
            assert reply.choices[0].message.content == expected
            assert reply.choices[0].finish_reason == "stop"
            usage = reply.usage
        assert usage is not None
        assert usage.completion_tokens == len(expected) + len(stop)  # a token is a byte here
        await at.verifier.drained()


async def test_log_probabilities_of_the_chosen_tokens(tokenizer: Tokenizer) -> None:
    async with site(tokenizer) as at:
        chat = await at.client.chat.completions.create(
            model="toy", messages=HELLO, max_tokens=12, temperature=0, logprobs=True
        )
        logprobs = chat.choices[0].logprobs
        assert logprobs is not None
        assert logprobs.content is not None
        assert "".join(entry.token for entry in logprobs.content) == chat.choices[0].message.content
        assert all(entry.top_logprobs == [] and -3 < entry.logprob < 0 for entry in logprobs.content)
        completion = await at.client.completions.create(model="toy", prompt="abc", temperature=0, logprobs=0)
        legacy = completion.choices[0].logprobs
        assert legacy is not None
        assert legacy.text_offset == list(range(16))
        assert "".join(legacy.tokens or []) == completion.choices[0].text
        assert all(math.isfinite(value) for value in legacy.token_logprobs or [math.nan] if value is not None)


async def test_bytes_of_the_log_probabilities_are_the_text(tokenizer: Tokenizer) -> None:
    prompt = tokenizer.encode_chat([dict(message) for message in HELLO])
    engine = scripted_target(tokenizer.fingerprint, prompt, [*"fox 🦊, é".encode(), START, *b"!", END_TOKEN])
    async with site(tokenizer, engine) as at:
        reply = await at.client.chat.completions.create(model="toy", messages=HELLO, temperature=0, logprobs=True)
        (choice,) = reply.choices
        assert choice.message.content == "fox 🦊, é!"
        assert choice.logprobs is not None
        entries = choice.logprobs.content or []
        assert bytes(byte for entry in entries for byte in entry.bytes or []).decode() == "fox 🦊, é!"
        assert [entry.bytes for entry in entries].count(None) == 2  # the special token and the end token


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("stop", ["<|im_start|>", "<|im_end|>"])
async def test_special_token_is_a_stop(tokenizer: Tokenizer, stop: str, stream: bool) -> None:
    prompt = tokenizer.encode_chat([dict(message) for message in HELLO])
    token = tokenizer.special_tokens[stop]
    engine = scripted_target(tokenizer.fingerprint, prompt, [*b"fox", token, *b" and more text"])
    async with site(tokenizer, engine) as at:
        options: dict[str, Any] = {
            "model": "toy",
            "messages": HELLO,
            "temperature": 0,
            "max_tokens": 12,
            "stop": ["~", stop],
        }
        if stream:
            chunks = [chunk async for chunk in await at.client.chat.completions.create(**options, stream=True)]
            assert (text_of(chunks), chunks[-1].choices[0].finish_reason) == ("fox", "stop")
        else:
            reply = await at.client.chat.completions.create(**options)
            assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == ("fox", "stop")
            assert reply.usage is not None
            assert reply.usage.completion_tokens == 4
        await at.verifier.drained()


async def test_extension_chooses_the_mode_and_reports_the_rounds(tokenizer: Tokenizer) -> None:
    async with site(tokenizer) as at:
        replies = {
            mode: await at.client.chat.completions.create(
                model="toy", messages=HELLO, max_tokens=30, temperature=0, extra_body={"goodspeed": {"mode": mode}}
            )
            for mode in ("distributed", "co_located", "target_only")
        }
        speculation = {mode: (reply.model_extra or {})["goodspeed"] for mode, reply in replies.items()}
        assert speculation["target_only"]["proposed"] == speculation["co_located"]["proposed"] == 0
        assert speculation["target_only"]["rounds"] == 1 + speculation["target_only"]["target_only_rounds"] == 30
        assert 0 < speculation["distributed"]["accepted"] <= speculation["distributed"]["proposed"]
        assert 0 < speculation["distributed"]["remote_rounds"] < speculation["distributed"]["rounds"] < 30
        assert all(
            field["rounds"] == 1 + sum(field[f"{mode.label}_rounds"] for mode in RoundMode)
            for field in speculation.values()
        )
        assert all(field["committed"] == 30 and field["verifier"] == "verifier" for field in speculation.values())
        assert all(0 < field["prompt_s"] < field["queue_s"] + field["verify_s"] for field in speculation.values())
        texts = [reply.choices[0].message.content for reply in replies.values()]
        assert texts[0] == texts[1] == texts[2]


@pytest.mark.parametrize(("engine", "chosen"), [("none", Mode.CO_LOCATED), ("toy", Mode.DISTRIBUTED)])
async def test_drafter_without_a_draft_engine_leaves_drafts_to_the_verifier(
    tokenizer: Tokenizer, engine: str, chosen: Mode
) -> None:
    draft = SwappableDraft(DraftConfig(engine=engine), tokenizer)
    async with LiveVerifier().running() as verifier, drafter_at([verifier], runner=draft.runner) as drafter:
        service = ApiService(drafter, tokenizer, max_tokens=100, meet_s=1.0, draft=draft)
        assert service.mode_of(Mode.DISTRIBUTED) is chosen
        assert service.mode_of(Mode.TARGET_ONLY) is Mode.TARGET_ONLY


async def test_speed_up_over_the_target_only_baseline_is_reported_once_it_is_known(tokenizer: Tokenizer) -> None:
    """A toy's steps take microseconds: their number, and so when the verifier knows its baseline, varies."""
    async with site(tokenizer) as at:

        async def ask(**more: object) -> dict[str, float]:
            reply = await at.client.chat.completions.create(
                model="toy", messages=HELLO, max_tokens=90, temperature=0, extra_body=more
            )
            speculation: dict[str, float] = (reply.model_extra or {})["goodspeed"]
            return speculation

        async def ask_until_known(**more: object) -> dict[str, float]:
            for _ in range(50):
                if "speed_up" in (speculation := await ask(**more)):
                    return speculation
            raise AssertionError("no speed-up in 50 answers")

        assert {"speed_up", "baseline_s", "elapsed_s"}.isdisjoint(await ask())
        for speculation in (await ask_until_known(n=2), await ask_until_known(goodspeed={"mode": "target_only"})):
            assert speculation["speed_up"] == pytest.approx(speculation["baseline_s"] / speculation["elapsed_s"])
        stream = await at.client.chat.completions.create(
            model="toy", messages=HELLO, max_tokens=90, stream=True, stream_options={"include_usage": True}
        )
        *_, last = [chunk async for chunk in stream]
        speculation = (last.model_extra or {})["goodspeed"]
        assert speculation["speed_up"] > 0.0
        values = {sample.name: sample.value for m in at.drafter.metrics.registry.collect() for sample in m.samples}
        assert values["goodspeed_drafter_answer_seconds_total"] > speculation["elapsed_s"] > 0.0
        assert values["goodspeed_drafter_baseline_seconds_total"] > speculation["baseline_s"]


async def test_rejection_rule_answers(tokenizer: Tokenizer) -> None:
    async with site(tokenizer) as at:
        reply = await at.client.chat.completions.create(
            model="toy", messages=HELLO, max_tokens=20, seed=1, extra_body={"goodspeed": {"rule": "rejection"}}
        )
        assert reply.usage is not None
        assert reply.usage.completion_tokens == 20


async def test_models_are_listed(tokenizer: Tokenizer) -> None:
    async with site(tokenizer) as at:
        assert [model.id async for model in at.client.models.list()] == ["toy"]
        assert (await at.client.models.retrieve("toy")).id == "toy"
        with pytest.raises(openai.NotFoundError):
            await at.client.models.retrieve("gpt-4")


async def test_unknown_model_is_not_found(tokenizer: Tokenizer) -> None:
    async with site(tokenizer) as at:
        with pytest.raises(
            openai.NotFoundError, match="model is 'gpt-4', which is not served; expected 'toy'"
        ) as caught:
            await at.client.chat.completions.create(model="gpt-4", messages=HELLO)
        assert caught.value.code == "model_not_found"
        assert caught.value.param == "model"


async def test_too_long_prompt_is_refused_by_its_length(tokenizer: Tokenizer) -> None:
    async with site(tokenizer) as at:
        with pytest.raises(openai.BadRequestError, match="maximum context length is 4096 tokens") as caught:
            await at.client.chat.completions.create(model="toy", messages=[{"role": "user", "content": "x" * 5000}])
        assert caught.value.code == "context_length_exceeded"
        assert caught.value.param == "messages"
        with pytest.raises(openai.BadRequestError) as caught:
            await at.client.completions.create(model="toy", prompt="x", max_tokens=4096)
        assert caught.value.code == "context_length_exceeded"
        assert at.drafter.num_streams == 0


async def test_cancelled_stream_frees_everything(tokenizer: Tokenizer) -> None:
    async with site(tokenizer) as at:
        stream = await at.client.chat.completions.create(
            model="toy", messages=HELLO, max_tokens=3900, temperature=0, stream=True, n=2
        )
        await anext(stream)
        await at.verifier.occupied()
        await stream.close()
        await at.verifier.drained()
        assert at.drafter.num_streams == 0


async def test_client_that_leaves_a_plain_request_frees_everything(tokenizer: Tokenizer) -> None:
    async with site(tokenizer) as at:
        asking = asyncio.create_task(
            at.client.chat.completions.create(model="toy", messages=HELLO, max_tokens=3900, temperature=0)
        )
        await at.verifier.occupied()
        asking.cancel()
        await at.verifier.drained()
        assert at.drafter.num_streams == 0


class FragileTarget(ToyTarget):
    """Fails while `is_broken`."""

    is_broken = False

    def step(self, batch: Sequence[Work]) -> list[Outcome]:
        if self.is_broken:
            raise RuntimeError("a GPU fell off")
        return super().step(batch)


async def test_failure_in_mid_stream_comes_as_an_error(tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture) -> None:
    engine = FragileTarget(toy_info(tokenizer.fingerprint))
    async with site(tokenizer, engine) as at:
        stream = await at.client.chat.completions.create(
            model="toy", messages=HELLO, max_tokens=3900, temperature=0, stream=True
        )
        await anext(stream)
        engine.is_broken = True
        with pytest.raises(openai.APIError, match="a GPU fell off"):
            async for _ in stream:
                pass
        with pytest.raises(openai.APIStatusError, match="a GPU fell off") as caught:
            await at.client.completions.create(model="toy", prompt="x")
        assert caught.value.status_code == 502
        engine.is_broken = False
        assert await chat_text(at) != ""
    caplog.clear()


async def test_api_key_is_required(tokenizer: Tokenizer) -> None:
    async with site(tokenizer, api_key="secret") as at:
        assert (await chat_text(at, seed=1)) != ""
        with pytest.raises(openai.AuthenticationError):
            await at.client.with_options(api_key="guess").models.list()


def text_of(chunks: list[ChatCompletionChunk], index: int = 0) -> str:
    choices = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
    return "".join(choice.delta.content or "" for choice in choices)


async def chat_text(at: Site, seed: int | None = None) -> str:
    options = {} if seed is None else {"seed": seed}
    reply = await at.client.chat.completions.create(
        model="toy", messages=HELLO, max_tokens=20, temperature=0.8, extra_body=options
    )
    return reply.choices[0].message.content or ""

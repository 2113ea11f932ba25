"""OpenAI's client for responses against a live drafter, whose target writes given texts."""

import json
from collections.abc import Sequence
from typing import Any

import openai
import pydantic
import pytest
from openai.types.responses import ResponseFunctionToolCall
from tests.drafter.http.text_client import serving

from goodspeed.engine.interface import Outcome, Work
from goodspeed.testing.text_target import TextTarget

WEATHER: dict[str, Any] = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": True,
}
NOW: dict[str, Any] = {"type": "function", "name": "now", "parameters": None, "strict": None}
TOOLS: list[Any] = [WEATHER, NOW]
CALLING = (
    'I look.\n<tool_call>\n{"name": "weather", "arguments": {"city": "Köln"}}\n</tool_call>\n'
    '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call> Done.'
)
OPTIONS: dict[str, Any] = {"model": "toy", "temperature": 0, "max_output_tokens": 500}


def shape(output: Any) -> list[tuple[str, ...]]:
    """The items without their ids."""
    return [
        (item.type, item.name, item.arguments) if item.type == "function_call" else (item.type, item.content[0].text)
        for item in output
    ]


SHAPE = [("message", "I look."), ("function_call", "weather", '{"city": "Köln"}'), ("function_call", "now", "{}")]
SHAPE_AFTER = [*SHAPE, ("message", "Done.")]


async def test_text_and_usage() -> None:
    async with serving(lambda _: "Hello.") as client:
        response = await client.responses.create(input="Hi", instructions="Be brief.", metadata={"a": "b"}, **OPTIONS)
        assert (response.output_text, response.status) == ("Hello.", "completed")
        assert response.instructions == "Be brief."
        assert response.metadata == {"a": "b"}
        assert response.incomplete_details is None
        usage = response.usage
        assert usage is not None
        assert usage.output_tokens == len("Hello.") + 1  # a token is a byte here; and the end token
        assert usage.total_tokens == usage.input_tokens + usage.output_tokens
        assert (usage.input_tokens_details.cached_tokens, usage.output_tokens_details.reasoning_tokens) == (0, 0)
        again = await client.responses.create(input="Hi", instructions="Be brief.", **OPTIONS)
        assert again.usage is not None
        assert again.usage.input_tokens_details.cached_tokens > 0
        assert (response.model_extra or {})["goodspeed"]["committed"] == usage.output_tokens


@pytest.mark.parametrize("window", [0, 1, 3, 8])
async def test_stream_builds_the_same_response_as_the_whole(window: int) -> None:
    async with serving(lambda _: CALLING, window=window) as client:
        whole = await client.responses.create(input="Köln?", tools=TOOLS, **OPTIONS)
        assert shape(whole.output) == SHAPE_AFTER
        events = []
        async with client.responses.stream(input="Köln?", tools=TOOLS, **OPTIONS) as stream:
            async for event in stream:
                events.append(event)
            final = await stream.get_final_response()
        assert shape(final.output) == SHAPE_AFTER
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert final.usage is not None
        assert whole.usage is not None
        assert final.usage.output_tokens == whole.usage.output_tokens


async def test_events_come_in_the_order_of_openais_api() -> None:
    async with serving(lambda _: CALLING) as client:
        stream = await client.responses.create(input="Köln?", tools=TOOLS, stream=True, **OPTIONS)
        kinds: list[str] = []
        items: dict[int, list[str]] = {}
        async for event in stream:
            if not (kinds and kinds[-1] == event.type and event.type.endswith(".delta")):
                kinds.append(event.type.removeprefix("response."))
                kinds[-1] = event.type
            if (index := getattr(event, "output_index", None)) is not None:
                items.setdefault(index, []).append(getattr(event, "item_id", ""))
    text = ["output_item.added", "content_part.added", "output_text.delta"]
    text += ["output_text.done", "content_part.done", "output_item.done"]
    call = ["output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done"]
    expected = ["created", "in_progress", *text, *call, *call, *text, "completed"]
    assert [kind.removeprefix("response.") for kind in kinds] == expected
    assert sorted(items) == [0, 1, 2, 3]
    assert all(len(set(ids) - {""}) == 1 for ids in items.values())


async def test_model_reads_the_items_that_clients_send_back() -> None:
    prompts: list[str] = []

    def answer_to(prompt: str) -> str:
        if not prompts or prompts[-1] != prompt:
            prompts.append(prompt)
        return "Warm." if "21 C" in prompt else CALLING.removesuffix(" Done.")

    async with serving(answer_to) as client:
        history: list[Any] = [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "input_text", "text": "Köln?"}]},
        ]
        first = await client.responses.create(input=history, tools=TOOLS, instructions="You help.", **OPTIONS)
        history += [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}, *first.output]
        calls = [item for item in first.output if isinstance(item, ResponseFunctionToolCall)]
        assert len({call.call_id for call in calls}) == 2
        outputs: list[Any] = ["21 C", [{"type": "input_text", "text": "noon"}]]
        for call, output in zip(calls, outputs, strict=True):
            history.append({"type": "function_call_output", "call_id": call.call_id, "output": output})
        last = await client.responses.create(input=history, tools=TOOLS, instructions="You help.", **OPTIONS)
        assert last.output_text == "Warm."
    prompt = prompts[-1]
    assert prompt.startswith("For a call")
    assert "system\nYou help.\n\nBe brief." in prompt
    assert 'assistant\nI look.{"name": "weather", "arguments": {"city": "Köln"}}{"name": "now"' in prompt
    assert prompt.index("tool\n21 C") < prompt.index("tool\nnoon")


async def test_answer_cut_by_its_maximum_length_is_incomplete() -> None:
    async with serving(lambda _: "A long answer.") as client:
        fields = {**OPTIONS, "max_output_tokens": 6}
        response = await client.responses.create(input="Hi", **fields)
        assert (response.output_text, response.status) == ("A long", "incomplete")
        assert response.incomplete_details is not None
        assert response.incomplete_details.reason == "max_output_tokens"
        async with client.responses.stream(input="Hi", **fields) as stream:
            kinds = [event.type async for event in stream]
        assert kinds[-1] == "response.incomplete"


async def test_empty_answer_has_an_empty_message() -> None:
    async with serving(lambda _: "") as client:
        response = await client.responses.create(input="Hi", **OPTIONS)
        assert shape(response.output) == [("message", "")]


@pytest.mark.parametrize("window", range(4))
async def test_log_probabilities_come_on_request(window: int) -> None:
    include: list[Any] = ["message.output_text.logprobs"]
    async with serving(lambda _: "Hello.", window=window) as client:
        response = await client.responses.create(input="Hi", include=include, top_logprobs=3, **OPTIONS)
    (item,) = response.output
    assert item.type == "message"
    (part,) = item.content
    assert part.type == "output_text"
    *entries, end = part.logprobs or []
    assert "".join(entry.token for entry in entries) == "Hello."
    assert all(entry.top_logprobs[0].token == entry.token for entry in entries)
    assert all(len(entry.top_logprobs) == 3 for entry in entries)
    assert (end.token, end.top_logprobs[0].token) == ("", "<|im_end|>")  # the end token has no text


async def test_log_probabilities_of_calls_are_no_text() -> None:
    async with serving(lambda _: CALLING) as client:
        include: list[Any] = ["message.output_text.logprobs"]
        response = await client.responses.create(input="Köln?", tools=TOOLS, include=include, **OPTIONS)
        assert shape(response.output) == SHAPE_AFTER


class FragileTarget(TextTarget):
    """Fails from its fifth step on."""

    num_steps = 0

    def step(self, batch: Sequence[Work]) -> list[Outcome]:
        self.num_steps += 1
        if self.num_steps >= 5:
            raise RuntimeError("a GPU fell off")
        return super().step(batch)


async def test_failure_in_mid_stream_is_the_last_event(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(lambda _: "A long answer.", window=0, target=FragileTarget) as client:
        events = [event async for event in await client.responses.create(input="Hi", stream=True, **OPTIONS)]
        last = events[-1]
        assert last.type == "response.failed"
        assert last.response.status == "failed"
        assert last.response.error is not None
        assert last.response.error.code == "server_error"
        assert "a GPU fell off" in last.response.error.message
        assert last.sequence_number == len(events) - 1
    caplog.clear()


class Answer(pydantic.BaseModel):
    n: int


async def test_text_has_the_form_that_is_asked_for() -> None:
    async with serving(lambda _: '{"n": 12}') as client:
        response = await client.responses.parse(input="Hi", text_format=Answer, **OPTIONS)
        assert response.output_parsed == Answer(n=12)
        assert response.text is not None
        assert response.text.format is not None
        assert response.text.format.type == "json_schema"
        async with client.responses.stream(input="Hi", text_format=Answer, **OPTIONS) as stream:
            async for _ in stream:
                pass
            assert (await stream.get_final_response()).output_parsed == Answer(n=12)


async def test_required_call_of_a_response() -> None:
    choices: list[Any] = ["required", {"type": "function", "name": "now"}]
    async with serving(lambda _: "I would rather talk.") as client:
        for choice in choices:
            response = await client.responses.create(
                input="Hi", tools=TOOLS[1:], tool_choice=choice, parallel_tool_calls=False, **OPTIONS
            )
            (item,) = response.output
            assert item.type == "function_call"
            assert (item.name, json.loads(item.arguments)) == ("now", {})


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"previous_response_id": "resp_1"}, "previous_response_id", "are not stored; send the whole conversation"),
    ({"conversation": "conv_1"}, "conversation", "are not stored"),
    ({"background": True}, "background", "True"),
    ({"truncation": "auto"}, "truncation", "auto"),
    ({"prompt": {"id": "pmpt_1"}}, "prompt", "not supported"),
    ({"max_tool_calls": 3}, "max_tool_calls", "not supported"),
    ({"reasoning": {"effort": "high"}}, "reasoning.effort", "'high', which is not supported"),
    ({"include": ["file_search_call.results"]}, "include", "'file_search_call.results'"),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type", "'web_search', supported is 'function'"),
    ({"tools": [{"type": "custom", "name": "x"}]}, "tools[0].type", "'custom'"),
    ({"tools": [{"type": "function"}]}, "tools[0].name", "missing"),
    ({"tools": TOOLS, "tool_choice": {"type": "function", "name": "f"}}, "tool_choice", "names 'f'"),
    ({"tool_choice": {"type": "web_search"}}, "tool_choice.type", "'web_search'"),
    ({"input": []}, "input", "empty"),
    ({"input": 7}, "input", "got `int`"),
    ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].type", "'item_reference', supported are"),
    ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id", "expected a string"),
    ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].type", "'input_image'"),
    ({"input": [{"role": "user"}]}, "input[0].content", "None, expected text"),
    ({"input": [{"content": "x"}]}, "input[0].role", "expected a string"),
    ({"text": {"format": {"type": "json_schema"}}}, "text.format.schema", "missing"),
    ({"text": {"format": {"type": "json_schema", "schema": {"type": "x"}}}}, "text.format.schema", "wrong at its top"),
    ({"text": {"verbosity": "high"}}, "text.verbosity", "high"),
    ({"max_output_tokens": 0}, "max_output_tokens", "1 or more"),
    ({"max_output_tokens": 10**6}, "input", "maximum context length"),
    ({"n": 2}, "n", "unknown field"),
    ({"temperature": 500}, "temperature", "expected 0 to 100"),
]


async def test_what_is_not_supported_is_named() -> None:
    async with serving(lambda _: "x") as client:
        for fields, param, words in WRONG:
            with pytest.raises(openai.BadRequestError) as caught:
                await client.responses.create(model="toy", input="Hi", extra_body=fields)
            assert caught.value.param == param, (fields, caught.value)
            assert words in str(caught.value)


async def test_accepted_fields_change_nothing() -> None:
    """What Codex and the agents' SDK send with every request."""
    fields = {
        "store": True,
        "prompt_cache_key": "k",
        "service_tier": "auto",
        "reasoning": {"effort": None, "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "previous_response_id": None,
        "stream_options": {"include_obfuscation": False},
        "client_metadata": {"x": "y"},
    }
    async with serving(lambda _: "Hello.") as client:
        response = await client.responses.create(input="Hi", extra_body=fields, **OPTIONS)
        assert response.output_text == "Hello."
        assert json.loads(response.model_dump_json())["store"] is False

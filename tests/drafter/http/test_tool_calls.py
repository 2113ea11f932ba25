"""Tools in chat completions: OpenAI's client against a live drafter, whose target writes given texts."""

import json
from typing import Any

import httpx
import openai
import pytest
from tests.drafter.http.text_client import serving
from tests.drafter.live import LiveVerifier, api_of, drafter_at

from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.testing.text_target import TEMPLATES

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
NOW: dict[str, Any] = {"type": "function", "function": {"name": "now"}}
TOOLS: list[Any] = [WEATHER, NOW]
TEXTS = {
    "hermes": 'I look.\n<tool_call>\n{"name": "weather", "arguments": {"city": "Köln"}}\n</tool_call>\n'
    '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>',
    "llama": 'I look. {"name": "weather", "parameters": {"city": "Köln"}}; {"name": "now", "parameters": {}}',
    "mistral": 'I look. [TOOL_CALLS][{"name": "weather", "arguments": {"city": "Köln"}}, '
    '{"name": "now", "arguments": {}}]',
    "pythonic": 'I look. [weather(city="Köln"), now()]',
}
CALLS = [("weather", '{"city": "Köln"}'), ("now", "{}")]
ASK: list[Any] = [{"role": "user", "content": "Is it warm in Köln?"}]


async def streamed(client: openai.AsyncOpenAI, **fields: Any) -> tuple[str, list[list[str]], str | None]:
    """The text, the calls as [id, name, arguments], and the finish, joined as clients do."""
    text, finish = "", None
    calls: list[list[str]] = []
    stream = await client.chat.completions.create(
        model="toy", messages=ASK, temperature=0, stream=True, **{"tools": TOOLS, "max_tokens": 500, **fields}
    )
    async for chunk in stream:
        (choice,) = chunk.choices
        text += choice.delta.content or ""
        for call in choice.delta.tool_calls or []:
            assert call.function is not None
            if call.id:
                assert call.index == len(calls)
                calls.append([call.id, call.function.name or "", ""])
            calls[call.index][2] += call.function.arguments or ""
        finish = finish or choice.finish_reason
        assert not (choice.finish_reason and (choice.delta.content or choice.delta.tool_calls))
    return text, calls, finish


@pytest.mark.parametrize("kind", TEMPLATES)
@pytest.mark.parametrize("window", range(9))
async def test_calls_are_the_same_streamed_and_whole_at_every_window(kind: str, window: int) -> None:
    async with serving(lambda _: TEXTS[kind], kind, window) as client:
        reply = await client.chat.completions.create(
            model="toy", messages=ASK, temperature=0, tools=TOOLS, max_tokens=500
        )
        (choice,) = reply.choices
        assert (choice.message.content, choice.finish_reason) == ("I look.", "tool_calls")
        whole = [(call.function.name, call.function.arguments) for call in choice.message.tool_calls or []]  # type: ignore[union-attr]
        assert whole == CALLS
        text, calls, finish = await streamed(client)
        assert (text, finish) == ("I look.", "tool_calls")
        assert [(name, arguments) for _, name, arguments in calls] == CALLS
        assert len({call_id for call_id, _, _ in calls}) == 2
        rounds = (reply.model_extra or {})["goodspeed"]["rounds"]
        assert (rounds == 1 + len(TEXTS[kind].encode())) == (window == 0)  # a token is a byte here


@pytest.mark.parametrize("kind", TEMPLATES)
async def test_the_model_reads_its_calls_and_their_results(kind: str) -> None:
    prompts: list[str] = []

    def answer_to(prompt: str) -> str:
        if not prompts or prompts[-1] != prompt:
            prompts.append(prompt)
        return "It is warm." if "21 C" in prompt else TEXTS[kind]

    async with serving(answer_to, kind) as client:
        first = await client.chat.completions.create(
            model="toy", messages=ASK, temperature=0, tools=TOOLS, max_tokens=500
        )
        message = first.choices[0].message
        results = [{"role": "tool", "tool_call_id": call.id, "content": "21 C"} for call in message.tool_calls or []]
        history: list[Any] = [*ASK, message, *results]
        last = await client.chat.completions.create(
            model="toy", messages=history, temperature=0, tools=TOOLS, max_tokens=500
        )
        assert (last.choices[0].message.content, last.choices[0].finish_reason) == ("It is warm.", "stop")
        assert last.choices[0].message.tool_calls is None
        assert '"name": "weather", "arguments": {"city": "Köln"}' in prompts[-1]


async def test_answer_without_a_call_is_plain_text() -> None:
    text = "No <tool_call> here: {x}\n"
    async with serving(lambda _: text) as client:
        assert await streamed(client) == (text, [], "stop")


async def test_one_call_ends_the_answer_if_calls_are_not_parallel() -> None:
    for window in range(9):
        async with serving(lambda _: TEXTS["hermes"], window=window) as client:
            reply = await client.chat.completions.create(
                model="toy",
                messages=ASK,
                temperature=0,
                tools=TOOLS,
                max_tokens=500,
                parallel_tool_calls=False,
            )
            assert reply.choices[0].finish_reason == "tool_calls"
            assert len(reply.choices[0].message.tool_calls or []) == 1
            end = TEXTS["hermes"].index("</tool_call>") + len("</tool_call>")
            assert reply.usage is not None
            assert reply.usage.completion_tokens == len(TEXTS["hermes"][:end].encode())  # a token is a byte here
            text, calls, finish = await streamed(client, parallel_tool_calls=False)
            assert (text, len(calls), finish) == ("I look.", 1, "tool_calls")


async def test_arguments_cut_by_the_maximum_length_end_with_length() -> None:
    async with serving(lambda _: TEXTS["hermes"]) as client:
        text, calls, finish = await streamed(
            client, max_tokens=len('I look.\n<tool_call>\n{"name": "weather", "arguments": {"ci')
        )
        assert (text, finish) == ("I look.", "length")
        assert [call[1:] for call in calls] == [["weather", '{"ci']]


async def test_tools_that_are_not_to_be_called_are_not_told() -> None:
    def answer_to(prompt: str) -> str:
        return TEXTS["hermes"] if "weather" in prompt.removesuffix("assistant\n") else "Hello."

    async with serving(answer_to) as client:
        assert await streamed(client, tool_choice="none") == ("Hello.", [], "stop")


async def test_log_probabilities_cover_the_whole_answer() -> None:
    async with serving(lambda _: TEXTS["hermes"]) as client:
        reply = await client.chat.completions.create(
            model="toy", messages=ASK, temperature=0, tools=TOOLS, max_tokens=500, logprobs=True
        )
        logprobs = reply.choices[0].logprobs
        assert logprobs is not None
        assert bytes(b for entry in logprobs.content or [] for b in entry.bytes or []).decode() == TEXTS["hermes"]


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"tools": [{"type": "web_search"}]}, "tools[0].type", "is 'web_search', supported is 'function'"),
    ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type", "is 'custom'"),
    ({"tools": [{"type": "function"}]}, "tools[0].function", "is missing"),
    ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function", "missing required field `name`"),
    ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools[0].function.name", "1 to 256 characters"),
    ({"tools": [NOW, NOW]}, "tools", "several functions with the name 'now'"),
    ({"tools": "weather"}, "tools", "got `str`"),
    ({"tools": [NOW], "tool_choice": "sometimes"}, "tool_choice", "'sometimes'"),
    ({"tools": [NOW], "tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice", "names 'f'"),
    ({"tools": [NOW], "tool_choice": {"type": "allowed_tools"}}, "tool_choice.type", "'allowed_tools'"),
    ({"tool_choice": "required"}, "tool_choice", "there are no tools"),
    ({"functions": [{"name": "now"}]}, "functions", "not supported"),
    ({"function_call": {"name": "now"}}, "function_call", "not supported"),
]


async def test_wrong_tool_field_is_named() -> None:
    async with serving(lambda _: "x") as client:
        for fields, param, words in WRONG:
            with pytest.raises(openai.BadRequestError) as caught:
                await client.chat.completions.create(model="toy", messages=ASK, extra_body=fields)
            assert caught.value.param == param, caught.value
            assert words in str(caught.value)


CITY: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"$ref": "#/$defs/City"}},
            "required": ["city"],
            "additionalProperties": False,
            "$defs": {"City": {"enum": ["Paris", "Köln"]}},
        },
    },
}


@pytest.mark.parametrize("kind", TEMPLATES)
@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
async def test_required_call_is_made_whatever_the_model_wants(kind: str, choice: Any) -> None:
    """And it is the constrained target's own, so it does not depend on the window."""
    made = []
    for window in (0, 1, 4, 8):
        async with serving(lambda _: "I would rather talk.", kind, window) as client:
            fields: Any = {"tools": [CITY, NOW], "tool_choice": choice, "parallel_tool_calls": False}
            text, calls, finish = await streamed(client, **fields)
            assert (text, finish, len(calls)) == ("", "tool_calls", 1)
            name, arguments = calls[0][1:]
            assert json.loads(arguments).get("city") in {"weather": ("Paris", "Köln"), "now": (None,)}[name]
            assert name == "weather" or choice == "required"
            reply = await client.chat.completions.create(
                model="toy", messages=ASK, temperature=0, max_tokens=500, **fields
            )
            (call,) = reply.choices[0].message.tool_calls or []
            assert (call.function.name, call.function.arguments) == (name, arguments)
            made.append((name, arguments))
    assert len(set(made)) == 1


@pytest.mark.parametrize(
    ("wish", "content", "num_calls"), [(TEXTS["hermes"][8:], None, 2), ('{"n": 1}', '{"n": 1}', 0)]
)
async def test_answer_in_json_may_be_a_call(wish: str, content: str | None, num_calls: int) -> None:
    """Agents ask for calls and for an answer of a schema at once: the model chooses."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    response_format: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    async with serving(lambda _: wish) as client:
        reply = await client.chat.completions.create(
            model="toy",
            messages=ASK,
            temperature=0,
            max_tokens=500,
            tools=TOOLS,
            response_format=response_format,
        )
        message = reply.choices[0].message
        assert (message.content, len(message.tool_calls or [])) == (content, num_calls)


async def test_wrong_schema_of_a_required_call_is_named() -> None:
    wrong = {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "text"}}}}
    async with serving(lambda _: "x") as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(
                model="toy",
                messages=ASK,
                extra_body={"tools": [NOW, {"type": "function", "function": wrong}], "tool_choice": "required"},
            )
        assert caught.value.param == "tools[1].function.parameters.properties.a"


async def test_template_that_knows_no_tools_refuses_them(tokenizer: Any) -> None:
    async with (
        LiveVerifier(ToyTarget(toy_info(tokenizer.fingerprint)), fingerprint=tokenizer.fingerprint).running() as at,
        drafter_at([at]) as drafter,
        api_of(drafter, tokenizer) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        body = {"model": "toy", "messages": ASK, "tools": [NOW]}
        error = (await client.post("/v1/chat/completions", json=body)).json()["error"]
        assert error["param"] == "tools"
        assert "no place for them" in error["message"]

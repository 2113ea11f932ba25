"""Tools and tool history in chat templates, beside what transformers makes of them."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers

from goodspeed.errors import RequestError
from goodspeed.models.chat_template import ChatTemplate, read_chat_template
from goodspeed.models.special_tokens import special_tokens

HERMES = """{%- if tools %}<tools>{% for tool in tools %}
{{ tool | tojson }}{% endfor %}
</tools>{% endif %}
{%- for m in messages %}[{{ m.role }}{% if m.role == 'tool' %} {{ m.name }}{% endif %}]{{ m.content }}
{%- for call in m.tool_calls %}<tool_call>{"name": "{{ call.function.name }}", "arguments": {{
  call.function.arguments | tojson }}}</tool_call>{% endfor %}{% endfor %}"""
MISTRAL = """{%- for m in messages %}
{%- if m.role == 'user' %}
  {%- if tools is not none and loop.last %}[AVAILABLE_TOOLS]{{ tools | tojson }}{% endif %}[INST]{{ m.content }}[/INST]
{%- elif m.tool_calls %}[TOOL_CALLS]{% for call in m.tool_calls %}
  {%- if call.id | length != 9 %}{{ raise_exception('ids have 9 characters') }}{% endif %}
  {{- call.function.name + (call.function.arguments | tojson) }}{% endfor %}
{%- else %}{{ m.content }}{% endif %}{% endfor %}"""
TEXT_ARGUMENTS = """{%- for tool in tools or [] %}{{ tool.function.name }}{% endfor %}
{%- for m in messages %}{{ m.content }}
{%- for call in m.tool_calls %}{{ call.function.name + '(' + call.function.arguments + ')' }}{% endfor %}{% endfor %}"""
NO_TOOLS = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Weather of a <city>",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CALL: dict[str, Any] = {
    "id": "abcdefghi",
    "type": "function",
    "function": {"name": "weather", "arguments": {"city": "Köln"}},
}
HISTORY: list[dict[str, Any]] = [
    {"role": "user", "content": "Is it warm?"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "21 °C", "tool_call_id": "abcdefghi", "name": "weather"},
    {"role": "user", "content": "And now?"},
]


@pytest.mark.parametrize("source", [HERMES, MISTRAL])
@pytest.mark.parametrize("num_messages", [1, 4])
def test_tools_and_history_render_as_in_transformers(
    random_checkpoint: Callable[..., Path], source: str, num_messages: int
) -> None:
    folder = random_checkpoint("llama")
    theirs = transformers.AutoTokenizer.from_pretrained(folder).apply_chat_template(
        HISTORY[:num_messages], tools=[WEATHER], chat_template=source, add_generation_prompt=True, tokenize=False
    )
    assert ChatTemplate(source, special_tokens(folder)).render(HISTORY[:num_messages], [WEATHER]) == theirs


def changed(message: int, **fields: object) -> list[dict[str, Any]]:
    history = copy.deepcopy(HISTORY)
    history[message] = {key: value for key, value in {**history[message], **fields}.items() if value != "absent"}
    return history


def with_arguments(arguments: object) -> list[dict[str, Any]]:
    return changed(1, tool_calls=[{**CALL, "function": {"name": "weather", "arguments": arguments}}])


@pytest.mark.parametrize(
    "history",
    [
        with_arguments('{"city": "Köln"}'),
        with_arguments('{"city":"K\\u00f6ln"}'),
        changed(1, content=None),
        changed(1, content="absent"),
        changed(1, content=[{"type": "text", "text": ""}]),
        changed(1, function_call=None, refusal=None, audio=None, annotations=None),
        changed(1, tool_calls=[{**CALL, "index": 0, "function": {**CALL["function"], "description": None}}]),
        changed(2, name="absent"),  # clients leave it out
        changed(2, content=[{"type": "text", "text": "21 "}, {"type": "text", "text": "°C"}]),
    ],
)
def test_history_reads_the_same_in_every_form_that_clients_send(history: list[dict[str, Any]]) -> None:
    template = ChatTemplate(HERMES, {})
    assert template.render(history, [WEATHER]) == template.render(HISTORY, [WEATHER])


@pytest.mark.parametrize("arguments", ['{"city": "Köln"}', {"city": "Köln"}])
def test_arguments_come_as_text_where_the_template_joins_texts(arguments: object) -> None:
    template = ChatTemplate(TEXT_ARGUMENTS, {})
    assert 'weather({"city": "Köln"})' in template.render(with_arguments(arguments), [WEATHER])


@pytest.mark.parametrize(("arguments", "shown"), [("", "{}"), (None, "{}"), ('{"city', '"{\\"city"')])
def test_arguments_that_are_no_object_reach_the_model(arguments: object, shown: str) -> None:
    assert f'"arguments": {shown}}}' in ChatTemplate(HERMES, {}).render(with_arguments(arguments))


def test_tool_that_returns_nothing_has_an_empty_text() -> None:
    prompt = ChatTemplate(HERMES, {}).render(changed(2, content=None))
    assert "[tool weather][user]" in prompt


def test_template_without_a_place_for_tools_refuses_them() -> None:
    template = ChatTemplate(NO_TOOLS, {})
    with pytest.raises(RequestError, match="chat template has no place for them") as caught:
        template.render(HISTORY[:1], [WEATHER])
    assert caught.value.field == "tools"
    with pytest.raises(RequestError, match="no place for tool_calls"):
        template.render(HISTORY)


@pytest.mark.parametrize(
    ("history", "message"),
    [
        (changed(2, role="function"), r"messages\[2\].role is 'function', a form that tools have replaced"),
        (changed(1, function_call={"name": "f", "arguments": "{}"}), r"messages\[1\].function_call is a form"),
        (changed(1, tool_calls="weather"), r"messages\[1\].tool_calls is 'weather', expected a list"),
        (changed(1, tool_calls=[{"name": "weather"}]), r"messages\[1\].tool_calls\[0\] is .* expected a call"),
        (changed(1, tool_calls=[{"id": 7, "function": {"name": "f"}}]), r"expected the name of the function and an id"),
        (with_arguments(["Köln"]), r"function.arguments is \['Köln'\], expected JSON text or an object"),
    ],
)
def test_wrong_history_is_named(history: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        ChatTemplate(HERMES, {}).render(history)
    assert caught.value.field == "messages"


def test_requests_with_tools_have_their_own_template_if_there_is_one(tmp_path: Path) -> None:
    named = [
        {"name": "default", "template": "plain {{ messages[0].content }}"},
        {"name": "tool_use", "template": "{{ tools[0].function.name }} {{ messages[0].content }}"},
    ]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
    template = read_chat_template(tmp_path)
    assert template is not None
    assert template.render(HISTORY[:1]) == "plain Is it warm?"
    assert template.render(HISTORY[:1], [WEATHER]) == "weather Is it warm?"
    assert template.tool_source == named[1]["template"]

"""Chat templates, beside what transformers makes of them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import transformers

from goodspeed.errors import CheckpointError, RequestError
from goodspeed.models.chat_template import ChatTemplate, read_chat_template
from goodspeed.models.special_tokens import special_tokens

TEMPLATES = [
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content | trim }}{{ eos_token }}{% endfor %}",
    "{%- for m in messages %}\n    {%- if m.content %}\n{{ m | tojson }}\n    {% endif %}\n{% endfor %}",
    "{% for m in messages %}{{ m.content }}{% if m.role == 'stop' %}{% break %}{% endif %}{% endfor %}",
    "{{ strftime_now('%Y') }}{% if tools %}tools{% endif %}{{ messages }}{% if add_generation_prompt %}go{% endif %}",
    "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
    "{{ messages | tojson(indent=2) }}{{ unknown_name is defined }}",
]
CONVERSATIONS: list[list[dict[str, str]]] = [
    [{"role": "user", "content": "  How many? <b>'7'</b> "}],
    [{"role": "system", "content": "Sei knapp, ja? 🦊"}, {"role": "user", "content": "naïve\n\ncafé"}],
    [{"role": "user", "content": "a"}, {"role": "stop", "content": "b"}, {"role": "user", "content": "c", "name": "x"}],
]


@pytest.mark.parametrize("source", TEMPLATES)
@pytest.mark.parametrize("messages", CONVERSATIONS)
def test_renders_as_transformers_does(
    random_checkpoint: Callable[..., Path], source: str, messages: list[dict[str, str]]
) -> None:
    folder = random_checkpoint("llama")
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    expected = theirs.apply_chat_template(messages, chat_template=source, add_generation_prompt=True, tokenize=False)
    assert ChatTemplate(source, special_tokens(folder)).render(messages) == expected


def test_text_parts_are_joined() -> None:
    template = ChatTemplate("{{ messages[0].content }}", {})
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    assert template.render([{"role": "user", "content": parts}]) == "one two"


TEXT = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
PARTS = (
    "{% for m in messages %}[{{ m.role }}]"
    "{% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}{% endfor %}"
)
FIRST_PART = "{% for m in messages %}[{{ m.role }}]{{ m.content[0].text + '' }}{% endfor %}"
BOTH = (
    "{% for m in messages %}[{{ m.role }}]{% if m.content is string %}{{ m.content }}"
    "{% else %}{% for part in m.content %}{{ part.text }}{% endfor %}{% endif %}{% endfor %}"
)


@pytest.mark.parametrize("source", [TEXT, PARTS, FIRST_PART, BOTH])
@pytest.mark.parametrize("content", ["blue sky", [{"type": "text", "text": "blue sky"}]])
def test_words_reach_templates_of_either_form(source: str, content: object) -> None:
    messages: list[dict[str, object]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": content},
    ]
    assert ChatTemplate(source, {}).render(messages) == "[system]Be brief.[user]blue sky"


CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
CALLING: list[dict[str, object]] = [
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "assistant", "tool_calls": [CALL]},
    {"role": "assistant", "content": "", "tool_calls": [CALL], "refusal": None, "audio": None},
]


@pytest.mark.parametrize("calling", CALLING)
@pytest.mark.parametrize(
    "source",
    [
        TEXT + "{{ messages[1].tool_calls }}",
        "{{ messages | tojson }}",
        "{% for m in messages %}{{ 'x' + m.content }}{% for c in m.tool_calls %}{{ c }}{% endfor %}{% endfor %}",
    ],
)
def test_assistant_without_content_has_an_empty_text(source: str, calling: dict[str, object]) -> None:
    """vllm#54337. Fields without a value are as if they were not sent."""
    messages: list[dict[str, object]] = [
        {"role": "user", "content": "Is it warm?"},
        calling,
        {"role": "tool", "tool_call_id": "call_1", "content": "21 C"},
    ]
    prompt = ChatTemplate(source, {}).render(messages)
    assert prompt == ChatTemplate(source, {}).render([messages[0], {**CALLING[0], "content": ""}, messages[2]])
    assert "None" not in prompt
    assert "null" not in prompt


def test_empty_tool_calls_are_none() -> None:
    template = ChatTemplate("{% for m in messages %}{{ m.content }}{{ 'tool_calls' in m }}{% endfor %}", {})
    for calls in ("null", "[]"):
        message = json.loads(f'{{"role": "assistant", "content": "x", "tool_calls": {calls}}}')
        assert template.render([message]) == "xFalse"


KNOWN_ROLES = (
    "{% for m in messages %}{% if m.role in ['system', 'user', 'assistant'] %}"
    "[{{ m.role }}]{{ m.content }}{% endif %}{% endfor %}"
)


@pytest.mark.parametrize(
    ("source", "role"),
    [
        (KNOWN_ROLES, "system"),
        (TEXT, "system"),
        (KNOWN_ROLES.replace("['system'", "['developer', 'system'"), "developer"),
    ],
)
def test_developer_is_the_system_unless_the_template_knows_it(source: str, role: str) -> None:
    """sglang#40082."""
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert ChatTemplate(source, {}).render(messages) == f"[{role}]Be brief.[user]Hi"


@pytest.mark.parametrize("role", ["tool", "critic"])
def test_message_that_the_template_would_drop_is_refused(role: str) -> None:
    messages = [{"role": "user", "content": "Hi"}, {"role": role, "content": "21 C"}]
    with pytest.raises(RequestError, match=f"has no place for a message with role '{role}'"):
        ChatTemplate(KNOWN_ROLES, {}).render(messages)


def test_template_without_the_users_words_is_refused() -> None:
    with pytest.raises(RequestError, match="has no place for a message with role 'user'"):
        ChatTemplate("{% if add_generation_prompt %}go{% endif %}", {}).render([{"role": "user", "content": "Hi"}])


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "messages is empty"),
        (["hello"], r"messages\[0\] is a str, expected an object"),
        ([{"content": "hello"}], r"messages\[0\].role is None"),
        ([{"role": "user", "content": 7}], r"messages\[0\].content is 7, expected text"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}], r"messages\[0\].content is"),
        ([{"role": "user", "content": [{"type": "text", "text": 1}]}], r"messages\[0\].content is"),
        ([{"role": "tool", "content": "hello"}], "refuses these messages: no tools here"),
        ([{"role": "user", "content": None}], r"messages\[0\].content is None, expected text"),
        ([{"role": "user"}], r"messages\[0\].content is None, expected text"),
    ],
)
def test_messages_that_cannot_be_rendered_are_the_requests_fault(
    messages: list[dict[str, object]], message: str
) -> None:
    template = ChatTemplate(
        "{% if messages[0].role == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}"
        "{{ 'user: ' + messages[0].content }}",
        {},
    )
    with pytest.raises(RequestError, match=message) as caught:
        template.render(messages)
    assert caught.value.field == "messages"


def test_template_cannot_leave_the_sandbox() -> None:
    template = ChatTemplate("{{ messages.__class__.__mro__[1].__subclasses__() }}", {})
    with pytest.raises(RequestError, match="unsafe"):
        template.render([{"role": "user", "content": "hello"}])


def test_broken_template_is_the_checkpoints_fault() -> None:
    with pytest.raises(CheckpointError, match="chat template: "):
        ChatTemplate("{% for %}", {})


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"tokenizer_config.json": '{"chat_template": "plain {{ messages[0].content }}"}'}, "plain x"),
        (
            {
                "tokenizer_config.json": '{"chat_template": [{"name": "tool_use", "template": "no"},'
                '{"name": "default", "template": "named {{ messages[0].content }}"}]}'
            },
            "named x",
        ),
        (
            {
                "chat_template.json": '{"chat_template": "json {{ messages[0].content }}"}',
                "tokenizer_config.json": "{}",
            },
            "json x",
        ),
        (
            {
                "chat_template.jinja": "{{ bos_token }}jinja {{ messages[0].content }}",
                "tokenizer_config.json": '{"chat_template": "old", "bos_token": {"content": "<s>"}}',
            },
            "<s>jinja x",
        ),
    ],
)
def test_template_is_found_wherever_it_is_kept(tmp_path: Path, files: dict[str, str], expected: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    template = read_chat_template(tmp_path)
    assert template is not None
    assert template.render([{"role": "user", "content": "x"}]) == expected


def test_template_of_a_wrong_type_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": 5}')
    with pytest.raises(CheckpointError, match="chat_template is a int, expected a string"):
        read_chat_template(tmp_path)

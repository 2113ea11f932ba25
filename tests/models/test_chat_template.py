"""Chat templates, beside what transformers makes of them."""

from collections.abc import Callable
from pathlib import Path

import pytest
import transformers

from goodspeed.errors import CheckpointError, RequestError
from goodspeed.models.chat_template import ChatTemplate, read_chat_template, special_tokens

TEMPLATES = [
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content | trim }}{{ eos_token }}{% endfor %}",
    "{%- for m in messages %}\n    {%- if loop.last %}\n{{ m | tojson }}\n    {% endif %}\n{% endfor %}",
    "{% for m in messages %}{% if m.role == 'stop' %}{% break %}{% endif %}{{ m.content }}{% endfor %}",
    "{{ strftime_now('%Y') }}{% if tools %}tools{% endif %}{% if add_generation_prompt %}go{% endif %}",
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
        ([{"role": "user", "content": None}], "refuses these messages"),
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
        ({"tokenizer_config.json": '{"chat_template": "plain"}'}, "plain"),
        (
            {
                "tokenizer_config.json": '{"chat_template": [{"name": "tool_use", "template": "no"},'
                '{"name": "default", "template": "named"}]}'
            },
            "named",
        ),
        ({"chat_template.json": '{"chat_template": "json"}', "tokenizer_config.json": "{}"}, "json"),
        (
            {
                "chat_template.jinja": "{{ bos_token }}jinja",
                "tokenizer_config.json": '{"chat_template": "old", "bos_token": {"content": "<s>"}}',
            },
            "<s>jinja",
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

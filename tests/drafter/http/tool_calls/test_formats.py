"""The format of tool calls is found in the chat template, by what the templates of model families have in them."""

import pytest

from goodspeed.drafter.http.tool_calls.formats import AUTO, FORMATS, find_format

QWEN = r"within <tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, \"arguments\": <args>}"
HERMES = r"""{{- "<tool_call>\n" }}{{- '{"name": <function-name>, "arguments": <args-dict>}\n' }}"""
LLAMA_31 = """{{- "<|python_tag|>" + call.name + ".call(" }}{{- 'Respond in the format {"name": function name' }}"""
LLAMA_32 = """'{"name": function name, "parameters": dictionary of argument name and its value}.'"""
PYTHONIC = "Respond in the format [func_name1(params_name1=params_value1, ...), func_name2(params)]"
MISTRAL = """{{- "[TOOL_CALLS]" + call.name + "[ARGS]" }}"""


@pytest.mark.parametrize(
    ("template", "kind"),
    [
        (QWEN, "hermes"),
        (HERMES, "hermes"),
        (LLAMA_31, "llama"),
        (LLAMA_32, "llama"),
        (PYTHONIC, "pythonic"),
        (MISTRAL, "mistral"),
    ],
)
def test_format_is_that_of_the_template(template: str, kind: str) -> None:
    assert find_format(AUTO, template) is FORMATS[kind]


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{{ m.content }}{% endfor %}",
        r"<tool_call>\n<function=example_function_name>\n<parameter=x>",  # Qwen3-Coder
        r"<tool_call>{function-name}\n<arg_key>{arg-key-1}</arg_key>",  # GLM
        "<\uff5ctool\u2581calls\u2581begin\uff5c>",  # DeepSeek
    ],
)
def test_unknown_format_is_not_guessed(template: str) -> None:
    assert find_format(AUTO, template) is None


def test_option_names_a_format_whatever_the_template_shows() -> None:
    assert find_format("llama", QWEN) is FORMATS["llama"]

"""Tool calls in the text of a model, in every format, cut into pieces of every length.

What must hold was reported against other servers: the issues are named where a case is theirs.
"""

import json
from collections.abc import Sequence

import hypothesis
import hypothesis.strategies as st
import pytest

from goodspeed.drafter.http.tool_calls.call_delta import CallDelta, Delta, Part, joined
from goodspeed.drafter.http.tool_calls.formats import FORMATS
from goodspeed.drafter.http.tool_calls.llama import LlamaCall
from goodspeed.drafter.http.tool_calls.tool_parser import ToolParser

FUNCTIONS = ("weather", "now", "write_file")
Found = tuple[str, list[tuple[str, str]]]
"""The visible text, and the calls as (name, arguments)."""

CODE = 'print("</tool_call> [TOOL_CALLS] {}")\n' * 2
PARIS = '{"city": "Paris"}'
CASES: list[tuple[str, str, str, list[tuple[str, str]]]] = [
    # format, the model's text, visible text, calls
    ("hermes", "It is warm.", "It is warm.", []),
    ("hermes", "  a < b\n\n", "  a < b\n\n", []),
    ("hermes", f'<tool_call>\n{{"name": "weather", "arguments": {PARIS}}}\n</tool_call>', "", [("weather", PARIS)]),
    (
        "hermes",
        f'I look it up.\n\n<tool_call>\n{{"name": "weather", "arguments": {PARIS}}}\n</tool_call>\n'
        '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>\n',
        "I look it up.",
        [("weather", PARIS), ("now", "{}")],  # vllm#28806: empty arguments
    ),
    ("hermes", '<tool_call>{"name": "now"}</tool_call> So.', "So.", [("now", "{}")]),
    ("hermes", '<tool_call>{"name": "now", "arguments": null}</tool_call>', "", [("now", "{}")]),
    ("hermes", f'<tool_call>{{"arguments": {PARIS}, "name": "weather"}}</tool_call>', "", [("weather", PARIS)]),
    ("hermes", f'<tool_call>{{"name": "weather", "arguments": {PARIS}}}', "", [("weather", PARIS)]),  # no end tag
    ("hermes", f'<tool_call>{{"name": "weather", "arguments": {PARIS}</tool_call>', "", [("weather", PARIS)]),
    (
        "hermes",
        f'<tool_call>{{"name": "weather", "arguments": {json.dumps(PARIS)}}}</tool_call>',
        "",
        [("weather", PARIS)],
    ),
    (
        "hermes",  # tags and brackets inside a string
        f'<tool_call>{{"name": "write_file", "arguments": {json.dumps({"text": CODE})}}}</tool_call>',
        "",
        [("write_file", json.dumps({"text": CODE}))],
    ),
    (
        "hermes",  # a line break inside a string is no JSON
        '<tool_call>{"name": "write_file", "arguments": {"text": "a\nb\x01"}}</tool_call>',
        "",
        [("write_file", '{"text": "a\\nb\\u0001"}')],
    ),
    # vllm#53638: a stray tag before the call
    (
        "hermes",
        f'<tool_call> hm <tool_call>{{"name": "weather", "arguments": {PARIS}}}</tool_call>',
        "<tool_call> hm",
        [("weather", PARIS)],
    ),
    ("hermes", "<<tool_call>x", "<<tool_call>x", []),
    ("hermes", '<tool_call>{"name": "weather", "argu', '<tool_call>{"name": "weather", "argu', []),
    ("hermes", "<tool_call>{'name': 'now'}</tool_call>", "<tool_call>{'name': 'now'}</tool_call>", []),
    ("hermes", '<tool_call>{"name": 7}</tool_call>', '<tool_call>{"name": 7}</tool_call>', []),
    ("hermes", '<tool_call>{"arguments": {}}</tool_call>', '<tool_call>{"arguments": {}}</tool_call>', []),
    ("hermes", '<tool_call>{"name": "now"}no</tool_call>', "no</tool_call>", [("now", "{}")]),
    # arguments that stop being JSON are passed on up to the end tag, as they are
    (
        "hermes",
        '<tool_call>{"name": "weather", "arguments": {"city": Paris}}</tool_call>So.',
        "So.",
        [("weather", '{"city": Paris}}')],
    ),
    ("hermes", '<tool_call>{"name": "weather", "arguments": {"city": "Par', "", [("weather", '{"city": "Par')]),
    ("llama", f'{{"name": "weather", "parameters": {PARIS}}}', "", [("weather", PARIS)]),
    ("llama", f'<|python_tag|>{{"name": "weather", "parameters": {PARIS}}}', "", [("weather", PARIS)]),
    (
        "llama",
        f'{{"type": "function", "name": "weather", "parameters": {PARIS}}}; {{"name": "now", "parameters": {{}}}}',
        "",
        [("weather", PARIS), ("now", "{}")],
    ),
    ("llama", f'[{{"name": "weather", "arguments": {PARIS}}}]', "", [("weather", PARIS)]),
    ("llama", f'Sure: {{"name": "weather", "parameters": {PARIS}}}', "Sure:", [("weather", PARIS)]),
    # objects that are no calls: an answer in JSON, a name that is no function's
    ("llama", '{"name": "Alice", "parameters": {}}', '{"name": "Alice", "parameters": {}}', []),
    ("llama", '{"name": "now"}', '{"name": "now"}', []),
    ("llama", '{"result": [1, 2], "x": {"y": 3}}', '{"result": [1, 2], "x": {"y": 3}}', []),
    ("llama", "<|python_tag|>print(1)", "<|python_tag|>print(1)", []),
    ("llama", "f = {x | x > 0}; [1]", "f = {x | x > 0}; [1]", []),
    # vllm#13622: numbers
    (
        "mistral",
        '[TOOL_CALLS] [{"name": "now", "arguments": {"a": 12, "b": -1.5e3}}]',
        "",
        [("now", '{"a": 12, "b": -1.5e3}')],
    ),
    (
        "mistral",
        f'Look {{x}}. [TOOL_CALLS][{{"name": "weather", "arguments": {PARIS}}}, {{"name": "now", "arguments": {{}}}}]',
        "Look {x}.",  # vllm#30724: a brace before the calls
        [("weather", PARIS), ("now", "{}")],
    ),
    (
        "mistral",
        f"[TOOL_CALLS]weather{PARIS}[TOOL_CALLS]now{{}}",
        "",
        [("weather", PARIS), ("now", "{}")],
    ),  # vllm#30651
    ("mistral", f"[TOOL_CALLS]weather[ARGS]{PARIS}", "", [("weather", PARIS)]),
    ("mistral", f"[TOOL_CALLS]weather[CALL_ID]a1B2c3D4e[ARGS]{PARIS}", "", [("weather", PARIS)]),
    ("mistral", f'[TOOL_CALLS]{{"name": "weather", "arguments": {PARIS}}}', "", [("weather", PARIS)]),
    ("mistral", "[TOOL_CALLS] I cannot.", "[TOOL_CALLS] I cannot.", []),
    ("mistral", "[TOOL_CALLS][]", "[TOOL_CALLS][]", []),
    ("mistral", "[TOOL_CALLS]weather", "[TOOL_CALLS]weather", []),
    ("mistral", '[TOOL_CALLS][{"name": "now", "arguments": {}}, {"nme"', ', {"nme"', [("now", "{}")]),
    ("mistral", "[TOOL_CALLS]now{x}[TOOL_CALLS]now{}", "", [("now", "{x}"), ("now", "{}")]),
    ("pythonic", "[weather(city='Paris'), now()]", "", [("weather", PARIS), ("now", "{}")]),
    (
        "pythonic",
        "Well.\n[write_file(text='a)]\\'\\n', n=[1, (2)], d={'k': None}, ok=true)]",
        "Well.",
        [("write_file", '{"text": "a)]\'\\n", "n": [1, 2], "d": {"k": null}, "ok": true}')],
    ),
    ("pythonic", "See [1] and [weather].", "See [1] and [weather].", []),
    ("pythonic", "[weather('Paris')]", "[weather('Paris')]", []),
    ("pythonic", "[weather(city=open('x'))]", "[weather(city=open('x'))]", []),
    ("pythonic", "[weather(city='Par", "[weather(city='Par", []),
    ("pythonic", "[now(), now(]", ", now(]", [("now", "{}")]),
]


def parsed(parser: ToolParser, pieces: Sequence[str]) -> list[Delta]:
    deltas = [delta for piece in pieces for delta in parser.push(piece)]
    return joined([*deltas, *parser.finish()])


def found(deltas: Sequence[Delta]) -> Found:
    text = "".join(delta for delta in deltas if isinstance(delta, str))
    calls = [delta for delta in deltas if isinstance(delta, CallDelta)]
    return text, [(call.name, call.arguments) for call in calls]


def cut(text: str, length: int) -> list[str]:
    return [text[start : start + length] for start in range(0, len(text), length)]


@pytest.mark.parametrize(("kind", "text", "visible", "calls"), CASES)
def test_calls_are_found_at_every_chunk_length(
    kind: str, text: str, visible: str, calls: list[tuple[str, str]]
) -> None:
    for length in (len(text), *range(1, 12)):
        assert found(parsed(FORMATS[kind].make(FUNCTIONS, None), cut(text, length))) == (visible, calls)


def test_arguments_come_while_they_are_written() -> None:
    """lmstudio-bug-tracker#1868."""
    parser = FORMATS["hermes"].make(FUNCTIONS, None)
    assert parser.push('<tool_call>{"name": "write_file", "argum') == []
    assert parser.push('ents": {"text": "one') == [CallDelta(0, '{"text": "one', "write_file")]
    assert parser.push(" two") == [CallDelta(0, " two")]
    assert parser.push('"}}</tool_') == [CallDelta(0, '"}')]
    assert parser.push("call>") == []


def test_text_is_held_back_only_while_it_may_begin_a_call() -> None:
    parser = FORMATS["hermes"].make(FUNCTIONS, None)
    assert parser.push("a <") == ["a"]
    assert parser.push("b") == [" <b"]
    llama = FORMATS["llama"].make(FUNCTIONS, None)
    assert llama.push('{"answer"') == ['{"answer"']


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("hermes", '<tool_call>{"name": "now"}</tool_call><tool_call>{"name": "weather"}</tool_call>'),
        ("llama", '{"name": "now", "parameters": {}}; {"name": "weather", "parameters": {}}'),
        ("mistral", '[TOOL_CALLS][{"name": "now", "arguments": {}}, {"name": "weather", "arguments": {}}]'),
        ("mistral", "[TOOL_CALLS]now{}[TOOL_CALLS]weather{}"),
        ("pythonic", "[now(), weather()]"),
    ],
)
def test_calls_beyond_the_maximum_are_left_out(kind: str, text: str) -> None:
    for length in range(1, len(text) + 1):
        parser = FORMATS[kind].make(FUNCTIONS, 1)
        assert found(parsed(parser, cut(text, length))) == ("", [("now", "{}")])
        assert parser.is_done


class CountedCall(LlamaCall):
    """A candidate that counts what it reads."""

    num_read = 0

    def push(self, char: str) -> list[Part]:
        CountedCall.num_read += 1
        return super().push(char)


@pytest.mark.parametrize("end", ["", "}", "x"])
def test_nested_starts_of_calls_are_read_in_linear_time(end: str) -> None:
    """Without a limit each start is read to the end of the text: 4 million characters here."""
    text = '{"parameters":' * 800 + end
    CountedCall.num_read = 0
    parser = ToolParser({"{": lambda: CountedCall(bool, "{")}, " ")
    assert parsed(parser, [text]) == [text]
    assert CountedCall.num_read < 12 * len(text)


FRAGMENTS = sorted({*"{}[]()<\",:;=' \n\\", "so", "now", "weather", "<tool_call>", "</tool_call>", "[TOOL_CALLS]"})
FRAGMENTS += ["[ARGS]", "<|python_tag|>", '"name": "now"', '"arguments": {', '"parameters": {}', "now(", "x=1"]


@pytest.mark.parametrize("kind", FORMATS)
@hypothesis.given(data=st.data())
@hypothesis.settings(max_examples=200, deadline=None)
def test_any_text_gives_the_same_deltas_however_it_is_cut(kind: str, data: st.DataObject) -> None:
    fragments = [*FRAGMENTS, *(text for name, text, _, _ in CASES if name == kind)]
    text = "".join(data.draw(st.lists(st.sampled_from(fragments), max_size=12)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole = parsed(FORMATS[kind].make(FUNCTIONS, None), [text])
    assert parsed(FORMATS[kind].make(FUNCTIONS, None), pieces) == whole
    assert parsed(FORMATS[kind].make(FUNCTIONS, None), list(text)) == whole
    if not any(isinstance(delta, CallDelta) for delta in whole):
        assert whole == ([text] if text else [])


@pytest.mark.parametrize("kind", FORMATS)
@hypothesis.given(
    st.lists(
        st.tuples(
            st.sampled_from(FUNCTIONS),
            st.dictionaries(
                st.text("abc_", min_size=1),
                st.recursive(
                    st.none() | st.booleans() | st.integers() | st.text(),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
                    max_leaves=8,
                ),
                max_size=3,
            ),
        ),
        min_size=1,
        max_size=3,
    )
)
@hypothesis.settings(max_examples=100, deadline=None)
def test_written_calls_are_read_again(kind: str, calls: list[tuple[str, dict[str, object]]]) -> None:
    text, read = found(parsed(FORMATS[kind].make(FUNCTIONS, None), list(written(kind, calls))))
    assert text == ""
    assert [(name, json.loads(arguments)) for name, arguments in read] == calls


def written(kind: str, calls: list[tuple[str, dict[str, object]]]) -> str:
    match kind:
        case "hermes":
            objects = [json.dumps({"name": name, "arguments": arguments}) for name, arguments in calls]
            return "\n".join(f"<tool_call>\n{call}\n</tool_call>" for call in objects)
        case "llama":
            return "; ".join(json.dumps({"name": name, "parameters": arguments}) for name, arguments in calls)
        case "mistral":
            return "[TOOL_CALLS]" + json.dumps([{"name": name, "arguments": given} for name, given in calls])
        case _:
            texts = (f"{name}({', '.join(f'{k}={v!r}' for k, v in given.items())})" for name, given in calls)
            return f"[{', '.join(texts)}]"

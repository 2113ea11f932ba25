"""Prompt files: our own domains, and the forms that others publish."""

import gzip
import json
from pathlib import Path

import pytest

from goodspeed.errors import ConfigError
from goodspeed.prompts.prompts import DOMAINS, ChatMessage, load_prompts


@pytest.mark.parametrize("domain", DOMAINS)
def test_each_domain_has_many_different_prompts(domain: str) -> None:
    prompts = load_prompts(domain)
    assert len(prompts) >= 24
    assert len(set(prompts)) == len(prompts)


def test_no_prompt_is_in_two_domains() -> None:
    prompts = [prompt for domain in DOMAINS for prompt in load_prompts(domain)]
    assert len(set(prompts)) == len(prompts)


def test_rewriting_prompts_carry_a_source_text() -> None:
    for prompt in load_prompts("rewriting"):
        instruction, _, text = prompt.messages[0].content.partition("\n\n")
        assert len(text) > len(instruction)


@pytest.mark.parametrize(
    ("line", "expected", "category"),
    [
        ({"prompt": "Why?"}, (ChatMessage("user", "Why?"),), ""),
        (
            {"question_id": 1, "category": "coding", "turns": ["First", "Second"]},
            (ChatMessage("user", "First"),),
            "coding",
        ),
        ({"question": "How many?", "answer": "#### 3"}, (ChatMessage("user", "How many?"),), ""),
        ({"task_id": "HumanEval/0", "prompt": "def f():\n", "test": ""}, (ChatMessage("user", "def f():\n"),), ""),
        (
            {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]},
            (ChatMessage("system", "Be brief."), ChatMessage("user", "Hi")),
            "",
        ),
    ],
)
def test_known_forms_are_read(tmp_path: Path, line: object, expected: tuple[ChatMessage, ...], category: str) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text(json.dumps(line) + "\n\n", encoding="utf-8")
    (prompt,) = load_prompts(str(file))
    assert prompt.messages == expected
    assert prompt.category == category


def test_a_gzipped_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl.gz"
    file.write_bytes(gzip.compress(b'{"prompt": "one"}\n{"prompt": "two"}\n'))
    assert [prompt.messages[0].content for prompt in load_prompts(str(file))] == ["one", "two"]


@pytest.mark.parametrize(
    ("second_line", "complaint"),
    [
        ("{", "line 2: not JSON"),
        ("[1]", "line 2: list, expected an object"),
        ('{"text": "x"}', r"line 2: has keys \['text'\], expected 'prompt'"),
        ('{"prompt": 3}', "line 2: 'prompt' is 3, expected text"),
        ('{"prompt": " "}', "line 2: 'prompt' is ' ', expected text"),
        ('{"turns": []}', r"line 2: 'turns' is \[\], expected text"),
        ('{"messages": "x"}', "line 2: 'messages' is 'x', expected a list"),
        ('{"messages": [{"role": "user"}]}', "line 2: a message is"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, second_line: str, complaint: str) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "fine"}\n' + second_line + "\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=complaint):
        load_prompts(str(file))


def test_a_file_without_prompts_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "empty.jsonl"
    file.write_text("\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="has no prompts"):
        load_prompts(str(file))


@pytest.mark.parametrize("content", [b"\xff\xfe{}", b"no gzip"])
def test_an_unreadable_file_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / ("prompts.jsonl" if content[0] == 0xFF else "prompts.jsonl.gz")
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="cannot read the prompts"):
        load_prompts(str(file))


def test_a_misspelt_domain_gets_a_hint() -> None:
    with pytest.raises(ConfigError, match="did you mean 'coding'"):
        load_prompts("codng")

"""Prompts of four built-in domains, or of a JSONL file.

Each line of a file is one prompt in one of these forms. Files named *.gz are decompressed.

    {"prompt": "..."}                        GoodSpeed; HumanEval
    {"messages": [{"role", "content"}, ..]}  GoodSpeed
    {"category": "...", "turns": ["...", ..]}  Spec-Bench: the first turn is used
    {"question": "...", ..}                  GSM8K
"""

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from goodspeed.errors import ConfigError
from goodspeed.registry import nearest_name

DOMAINS = ("maths", "rewriting", "coding", "travel")
"""Each has 26 prompts or more. The prompts of `rewriting` contain the text that the answer repeats."""


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a chat."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A user's prompt: the messages of a chat."""

    messages: tuple[ChatMessage, ...]
    category: str = ""


def load_prompts(source: str) -> list[Prompt]:
    """Read the prompts of a domain or a file. Raises ConfigError that names the file and the line."""
    if source in DOMAINS:
        text = resources.files("goodspeed.prompts").joinpath("domains", f"{source}.jsonl").read_text(encoding="utf-8")
        return _parse(text, source)
    path = Path(source)
    if not path.exists():
        hint = nearest_name(source, list(DOMAINS))
        raise ConfigError(f"no prompts {source!r}, expected a file or a domain; {hint}")
    return _parse(_read(path), source)


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
        return (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the prompts {path}: {error}") from error


def _parse(text: str, source: str) -> list[Prompt]:
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise ConfigError(f"{source} has no prompts")
    return [_prompt(line, f"{source}, line {number}") for number, line in lines]


def _prompt(line: str, where: str) -> Prompt:
    try:
        fields = json.loads(line)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{where}: not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise ConfigError(f"{where}: {type(fields).__name__}, expected an object")
    category = str(fields.get("category", ""))
    if "messages" in fields:
        return Prompt(_messages(fields["messages"], where), category)
    return Prompt((ChatMessage("user", _question(fields, where)),), category)


def _question(fields: Mapping[str, object], where: str) -> str:
    for key in ("prompt", "question", "turns"):
        if key in fields:
            value = fields[key]
            if key == "turns" and isinstance(value, list) and value:
                value = value[0]
            if not isinstance(value, str) or not value.strip():
                raise ConfigError(f"{where}: {key!r} is {value!r}, expected text")
            return value
    raise ConfigError(f"{where}: has keys {sorted(fields)}, expected 'prompt', 'messages', 'question' or 'turns'")


def _messages(value: object, where: str) -> tuple[ChatMessage, ...]:
    if not isinstance(value, list) or not value:
        raise ConfigError(f"{where}: 'messages' is {value!r}, expected a list")
    return tuple(_message(item, where) for item in value)


def _message(item: object, where: str) -> ChatMessage:
    match item:
        case {"role": str(role), "content": str(content)}:
            return ChatMessage(role, content)
    raise ConfigError(f"{where}: a message is {item!r}, expected an object with 'role' and 'content'")

"""Chat templates: from messages to the prompt of a chat model, rendered as in transformers."""

import datetime
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox

from goodspeed.errors import CheckpointError, RequestError
from goodspeed.models.folder import JsonObject, read_json


class ChatTemplate:
    """A model's chat template, with the special tokens that it may use."""

    def __init__(self, source: str, special_tokens: Mapping[str, str]) -> None:
        """Raises CheckpointError if the template does not parse."""
        try:
            self._template = _environment().from_string(source)
        except jinja2.TemplateError as error:
            raise CheckpointError(f"chat template: {error}") from error
        self._special_tokens = dict(special_tokens)

    def render(self, messages: Sequence[Mapping[str, object]]) -> str:
        """The prompt, up to the start of the assistant's next message. Raises RequestError (field "messages")."""
        checked = [_checked(message, i) for i, message in enumerate(messages)]
        if not checked:
            raise RequestError("messages is empty, expected at least one", "messages")
        try:
            return self._template.render(
                messages=checked, tools=None, documents=None, add_generation_prompt=True, **self._special_tokens
            )
        except (jinja2.TemplateError, TypeError, ValueError, KeyError) as error:
            raise RequestError(f"the model's chat template refuses these messages: {error}", "messages") from error


def read_chat_template(folder: Path) -> ChatTemplate | None:
    """The folder's chat template: from chat_template.jinja, chat_template.json or tokenizer_config.json, in this order.

    None if there is none. Raises CheckpointError if it is broken.
    """
    path = folder / "tokenizer_config.json"
    values = read_json(path) if path.exists() else {}
    source = _read_source(folder, values)
    return ChatTemplate(source, special_tokens(folder)) if source is not None else None


def special_tokens(folder: Path) -> dict[str, str]:
    """Special tokens by name, for example {"bos_token": "<s>"}. Raises CheckpointError for broken files."""
    found: dict[str, str] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        path = folder / name
        for key, value in (read_json(path) if path.exists() else {}).items():
            content = value.get("content") if isinstance(value, dict) else value
            if key.endswith("_token") and isinstance(content, str):
                found[key] = content
    return found


def _read_source(folder: Path, values: JsonObject) -> str | None:
    jinja = folder / "chat_template.jinja"
    if jinja.exists():
        try:
            return jinja.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CheckpointError(f"cannot read {jinja}: {error}") from error
    if (folder / "chat_template.json").exists():
        values = read_json(folder / "chat_template.json")
    source = values.get("chat_template")
    if isinstance(source, list):  # several templates with names
        named = {entry.get("name"): entry.get("template") for entry in source if isinstance(entry, dict)}
        source = named.get("default")
    if source is not None and not isinstance(source, str):
        raise CheckpointError(f"{folder}: chat_template is a {type(source).__name__}, expected a string")
    return source


def _checked(message: object, index: int) -> dict[str, object]:
    if not isinstance(message, Mapping):
        raise RequestError(f"messages[{index}] is a {type(message).__name__}, expected an object", "messages")
    role = message.get("role")
    if not isinstance(role, str):
        raise RequestError(f"messages[{index}].role is {role!r}, expected a string", "messages")
    return {**message, "content": _content(message.get("content"), index)}


def _content(content: object, index: int) -> str | None:
    """The text, or the texts of OpenAI's content parts, joined; None for an assistant message of tool calls only."""
    if content is None or isinstance(content, str):
        return content
    parts = content if isinstance(content, Sequence) else [content]
    texts = [part.get("text") for part in parts if isinstance(part, Mapping) and part.get("type") == "text"]
    if len(texts) != len(parts) or not all(isinstance(text, str) for text in texts):
        raise RequestError(f"messages[{index}].content is {content!r:.80}, expected text", "messages")
    return "".join(str(text) for text in texts)


class _GenerationTag(jinja2.ext.Extension):
    """`{% generation %}` marks the assistant's text for training; in a prompt it has no effect."""

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


_GenerationTag.tags = {"generation"}


def _environment() -> jinja2.Environment:
    """The functions that transformers offers to templates, in a sandbox: templates are code from third parties."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols, _GenerationTag]
    )
    environment.filters["tojson"] = _to_json
    functions: dict[str, Callable[..., object]] = {"raise_exception": _raise, "strftime_now": _strftime_now}
    environment.globals.update(functions)
    return environment


def _to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.datetime.now().strftime(form)

"""Chat templates: from messages to the prompt of a chat model, rendered as in transformers."""

import datetime
import enum
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
from goodspeed.models.chat_message import ChatMessage, checked_message
from goodspeed.models.folder import JsonObject, read_json
from goodspeed.models.special_tokens import special_tokens

PROBE = "contentprobe"
"""A text that a template shows as it is."""
RENDER_ERRORS = (jinja2.TemplateError, TypeError, ValueError, KeyError)
"""What templates raise for messages that they do not expect."""


class ContentForm(enum.Enum):
    """The form in which a template takes the content of messages with a certain role."""

    TEXT = enum.auto()
    PARTS = enum.auto()
    """As a list of OpenAI's content parts."""
    LOST = enum.auto()
    """The template drops the content in either form."""


class ChatTemplate:
    """A model's chat template, with the special tokens that it may use."""

    def __init__(self, source: str, special_tokens: Mapping[str, str]) -> None:
        """Raises CheckpointError if the template does not parse."""
        try:
            self._template = _environment().from_string(source)
        except jinja2.TemplateError as error:
            raise CheckpointError(f"chat template: {error}") from error
        self._special_tokens = dict(special_tokens)
        self._knows_developer = "developer" in source
        self._forms: dict[str, ContentForm] = {}  # by role

    def render(self, messages: Sequence[Mapping[str, object]]) -> str:
        """The prompt, up to the start of the assistant's next message. Raises RequestError (field "messages")."""
        if not messages:
            raise RequestError("messages is empty, expected at least one", "messages")
        prepared = [self._prepared(checked_message(message, i)) for i, message in enumerate(messages)]
        try:
            return self._render(prepared)
        except RENDER_ERRORS as error:
            raise RequestError(f"the model's chat template refuses these messages: {error}", "messages") from error

    def _prepared(self, message: ChatMessage) -> JsonObject:
        """The message as the template takes it. Raises RequestError if the template would drop it."""
        role = "system" if message.role == "developer" and not self._knows_developer else message.role
        form = self._forms.get(role) or self._forms.setdefault(role, self._probe(role))
        if form is ContentForm.LOST:
            raise RequestError(
                f"the model's chat template has no place for a message with role {message.role!r}", "messages"
            )
        return {**message.fields, "role": role, "content": _in_form(message.texts, form)}

    def _probe(self, role: str) -> ContentForm:
        """Find out how the template takes content: as text, or else as parts."""
        is_refused = False
        for form in (ContentForm.TEXT, ContentForm.PARTS):
            try:
                prompt = self._render(_probe_messages(role, form))
            except RENDER_ERRORS:
                is_refused = True  # the template says why when it gets the user's messages
                continue
            if PROBE in prompt:
                return form
        return ContentForm.TEXT if is_refused else ContentForm.LOST

    def _render(self, messages: Sequence[JsonObject]) -> str:
        """Raises RENDER_ERRORS."""
        return self._template.render(
            messages=messages, tools=None, documents=None, add_generation_prompt=True, **self._special_tokens
        )


def read_chat_template(folder: Path) -> ChatTemplate | None:
    """The folder's chat template: from chat_template.jinja, chat_template.json or tokenizer_config.json, in this order.

    None if there is none. Raises CheckpointError if it is broken.
    """
    path = folder / "tokenizer_config.json"
    values = read_json(path) if path.exists() else {}
    source = _read_source(folder, values)
    return ChatTemplate(source, special_tokens(folder)) if source is not None else None


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


def _in_form(texts: Sequence[str], form: ContentForm) -> object:
    return [{"type": "text", "text": text} for text in texts] if form is ContentForm.PARTS else "".join(texts)


def _probe_messages(role: str, form: ContentForm) -> list[JsonObject]:
    """A conversation in which a message with this role is expected; its text is PROBE."""
    message: JsonObject = {"role": role, "content": _in_form((PROBE,), form)}
    user: JsonObject = {"role": "user", "content": _in_form(("user",), form)}
    match role:
        case "user":
            return [message]
        case "system" | "developer":
            return [message, user]
        case "tool":
            call = {"id": "call00000", "type": "function", "function": {"name": "f", "arguments": {}}}
            calling: JsonObject = {"role": "assistant", "content": _in_form(("",), form), "tool_calls": [call]}
            return [user, calling, {**message, "name": "f", "tool_call_id": "call00000"}]
        case _:
            return [user, message, user]


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

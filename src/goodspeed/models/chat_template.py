"""Chat templates: from messages to the prompt of a chat model, rendered as in transformers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2

from goodspeed.errors import CheckpointError, RequestError
from goodspeed.models.chat_message import ChatMessage, checked_message
from goodspeed.models.folder import JsonObject, read_json
from goodspeed.models.special_tokens import special_tokens
from goodspeed.models.template_environment import RENDER_ERRORS, template_environment
from goodspeed.models.template_forms import ArgumentsForm, ContentForm, TemplateForms, in_form


class ChatTemplate:
    """A model's chat template, with the special tokens that it may use."""

    def __init__(self, source: str, special_tokens: Mapping[str, str], tool_source: str | None = None) -> None:
        """`tool_source`: the template for requests with tools, if it is another one.

        Raises CheckpointError if a template does not parse.
        """
        self.tool_source = tool_source or source
        """The template that tells the model how to call tools."""
        self._template = _parsed(source)
        self._tool_template = _parsed(tool_source) if tool_source else self._template
        self._special_tokens = dict(special_tokens)
        self._knows_developer = "developer" in source
        self._forms = TemplateForms(self._render)

    def render(self, messages: Sequence[Mapping[str, object]], tools: Sequence[JsonObject] = ()) -> str:
        """The prompt, up to the start of the assistant's next message.

        `tools` are in OpenAI's form. Raises RequestError (field "messages" or "tools").
        """
        if not messages:
            raise RequestError("messages is empty, expected at least one", "messages")
        if tools and not self._forms.has_tools:
            raise RequestError("tools cannot be used: the model's chat template has no place for them", "tools")
        checked = [checked_message(message, i) for i, message in enumerate(messages)]
        functions = {call.call_id: call.function for message in checked for call in message.calls}
        prepared = [self._prepared(message, functions) for message in checked]
        try:
            return self._render(prepared, tools)
        except RENDER_ERRORS as error:
            raise RequestError(f"the model's chat template refuses these messages: {error}", "messages") from error

    def _prepared(self, message: ChatMessage, functions: Mapping[str | None, str]) -> JsonObject:
        """The message as the template takes it. `functions`: their names by the ids of calls.

        Raises RequestError if the template would drop the message.
        """
        role = "system" if message.role == "developer" and not self._knows_developer else message.role
        form = self._forms.content(role)
        if form is ContentForm.LOST:
            raise RequestError(
                f"the model's chat template has no place for a message with role {message.role!r}", "messages"
            )
        prepared = {**message.fields, "role": role, "content": in_form(message.texts, form)}
        if message.calls:
            has_text = self._arguments_form() is ArgumentsForm.TEXT
            prepared["tool_calls"] = [call.as_field(has_text=has_text) for call in message.calls]
        call_id = message.fields.get("tool_call_id")
        if role == "tool" and isinstance(call_id, str) and call_id in functions:
            prepared.setdefault("name", functions[call_id])  # clients leave it out, and some templates need it
        return prepared

    def _arguments_form(self) -> ArgumentsForm:
        form = self._forms.arguments
        if form is ArgumentsForm.LOST:
            raise RequestError("the model's chat template has no place for tool_calls", "messages")
        return form

    def _render(self, messages: Sequence[JsonObject], tools: Sequence[JsonObject]) -> str:
        """Raises RENDER_ERRORS."""
        template = self._tool_template if tools else self._template
        return template.render(
            messages=messages,
            tools=list(tools) or None,
            documents=None,
            add_generation_prompt=True,
            **self._special_tokens,
        )


def read_chat_template(folder: Path) -> ChatTemplate | None:
    """The folder's chat template: from chat_template.jinja, chat_template.json or tokenizer_config.json, in this order.

    None if there is none. Raises CheckpointError if it is broken.
    """
    path = folder / "tokenizer_config.json"
    values = read_json(path) if path.exists() else {}
    source, tool_source = _read_sources(folder, values)
    return None if source is None else ChatTemplate(source, special_tokens(folder), tool_source)


def _read_sources(folder: Path, values: JsonObject) -> tuple[str | None, str | None]:
    """The template, and the one for requests with tools if it is another."""
    jinja = folder / "chat_template.jinja"
    if jinja.exists():
        try:
            return jinja.read_text(encoding="utf-8"), None
        except (OSError, UnicodeDecodeError) as error:
            raise CheckpointError(f"cannot read {jinja}: {error}") from error
    if (folder / "chat_template.json").exists():
        values = read_json(folder / "chat_template.json")
    source = values.get("chat_template")
    if isinstance(source, list):  # several templates with names
        named = {entry.get("name"): entry.get("template") for entry in source if isinstance(entry, dict)}
        return _checked(folder, named.get("default")), _checked(folder, named.get("tool_use"))
    return _checked(folder, source), None


def _checked(folder: Path, source: object) -> str | None:
    if source is not None and not isinstance(source, str):
        raise CheckpointError(f"{folder}: chat_template is a {type(source).__name__}, expected a string")
    return source


def _parsed(source: str) -> jinja2.Template:
    try:
        return template_environment().from_string(source)
    except jinja2.TemplateError as error:
        raise CheckpointError(f"chat template: {error}") from error

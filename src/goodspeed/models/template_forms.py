"""Finds out in which forms a chat template takes messages and tools. Templates drop what they do not know."""

import enum
from collections.abc import Callable, Sequence
from functools import cached_property

from goodspeed.models.chat_message import ToolCall
from goodspeed.models.folder import JsonObject
from goodspeed.models.template_environment import RENDER_ERRORS

PROBE = "contentprobe"
"""A text that a template shows as it is."""
CALL = ToolCall("call00000", PROBE, {"argument": PROBE})
"""Some templates accept no other ids than those of nine characters."""


class ContentForm(enum.Enum):
    """The form in which a template takes the content of messages with a certain role."""

    TEXT = enum.auto()
    PARTS = enum.auto()
    """As a list of OpenAI's content parts."""
    LOST = enum.auto()
    """The template drops the content in either form."""


class ArgumentsForm(enum.Enum):
    """The form in which a template takes the arguments of a call."""

    OBJECT = enum.auto()
    TEXT = enum.auto()
    """As JSON text."""
    LOST = enum.auto()
    """The template drops calls."""


class TemplateForms:
    """What a template takes, found by rendering probes once each."""

    def __init__(self, render: Callable[[Sequence[JsonObject], Sequence[JsonObject]], str]) -> None:
        """`render(messages, tools)` raises RENDER_ERRORS."""
        self._render = render
        self._content: dict[str, ContentForm] = {}  # by role

    def content(self, role: str) -> ContentForm:
        """The form of messages with this role."""
        return self._content.get(role) or self._content.setdefault(role, self._probe_content(role))

    @cached_property
    def arguments(self) -> ArgumentsForm:
        is_refused = False
        for form in (ArgumentsForm.OBJECT, ArgumentsForm.TEXT):
            user: JsonObject = {"role": "user", "content": in_form(("user",), self.content("user"))}
            calling: JsonObject = {
                "role": "assistant",
                "content": in_form(("",), self.content("assistant")),
                "tool_calls": [CALL.as_field(has_text=form is ArgumentsForm.TEXT)],
            }
            try:
                prompt = self._render([user, calling], ())
            except RENDER_ERRORS:
                is_refused = True  # the template says why when it gets the user's messages
                continue
            if PROBE in prompt:
                return form
        return ArgumentsForm.OBJECT if is_refused else ArgumentsForm.LOST

    @cached_property
    def has_tools(self) -> bool:
        """False if the template drops the tools of a request."""
        user: JsonObject = {"role": "user", "content": in_form(("user",), self.content("user"))}
        parameters = {"type": "object", "properties": {}}
        function = {"name": PROBE, "description": "", "parameters": parameters}
        try:
            return PROBE in self._render([user], [{"type": "function", "function": function}])
        except RENDER_ERRORS:
            return True  # the template says why when it gets the user's tools

    def _probe_content(self, role: str) -> ContentForm:
        """As text, or else as parts."""
        is_refused = False
        for form in (ContentForm.TEXT, ContentForm.PARTS):
            try:
                prompt = self._render(_probe_messages(role, form), ())
            except RENDER_ERRORS:
                is_refused = True  # the template says why when it gets the user's messages
                continue
            if PROBE in prompt:
                return form
        return ContentForm.TEXT if is_refused else ContentForm.LOST


def in_form(texts: Sequence[str], form: ContentForm) -> object:
    """The content of a message."""
    return [{"type": "text", "text": text} for text in texts] if form is ContentForm.PARTS else "".join(texts)


def _probe_messages(role: str, form: ContentForm) -> list[JsonObject]:
    """A conversation in which a message with this role is expected; its text is PROBE."""
    message: JsonObject = {"role": role, "content": in_form((PROBE,), form)}
    user: JsonObject = {"role": "user", "content": in_form(("user",), form)}
    match role:
        case "user":
            return [message]
        case "system" | "developer":
            return [message, user]
        case "tool":
            call = {"id": "call00000", "type": "function", "function": {"name": "f", "arguments": {}}}
            calling: JsonObject = {"role": "assistant", "content": in_form(("",), form), "tool_calls": [call]}
            return [user, calling, {**message, "name": "f", "tool_call_id": "call00000"}]
        case _:
            return [user, message, user]

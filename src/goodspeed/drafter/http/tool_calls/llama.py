"""The format of Llama 3 in JSON: {"name": ..., "parameters": {...}}, with or without <|python_tag|> before."""

from collections.abc import Callable

from goodspeed.drafter.http.tool_calls.call_delta import Part
from goodspeed.drafter.http.tool_calls.call_object import CallObject
from goodspeed.drafter.http.tool_calls.json_scanner import SPACE

PYTHON_TAG = "<|python_tag|>"
PADDING = SPACE + "[],;"
"""Some models separate calls by semicolons, or write a list."""


class LlamaCall:
    """A Candidate. Nothing marks a call: its name must be that of a function of the request."""

    def __init__(self, is_function: Callable[[str], bool], opener: str) -> None:
        """`opener`: the first brace or PYTHON_TAG."""
        self._call = CallObject(is_function, PYTHON_TAG, needs_arguments=True)
        self._is_in_object = False
        if opener == "{":
            self.push(opener)

    @property
    def is_complete(self) -> bool:
        return self._call.is_complete

    def push(self, char: str) -> list[Part]:
        if not self._is_in_object and char in PADDING:
            return []
        self._is_in_object = True
        return self._call.push(char)

    def finish(self) -> list[Part]:
        return self._call.finish()

"""The format of Llama 3.2 and 4 in Python: [name(key=value), name(key=value)]."""

import ast
import json
from collections.abc import Collection

from goodspeed.drafter.http.tool_calls.call_delta import MalformedCallError, Part
from goodspeed.drafter.http.tool_calls.json_scanner import SPACE

CONSTANTS = {"true": True, "false": False, "null": None}
"""JSON's words, which models write in Python."""
BRACKETS = {"(": ")", "[": "]", "{": "}"}


class PythonicCalls:
    """A Candidate, after the opening bracket. A call is certain when it is complete: the values are Python's."""

    def __init__(self, functions: Collection[str]) -> None:
        self.is_complete = False
        self._functions = functions
        self._name = ""
        self._source: list[str] = []  # of the arguments, from the opening parenthesis on
        self._closers: list[str] = []  # of the brackets that are open in them
        self._quote = ""
        self._is_escaped = False
        self._needs_separator = False

    def push(self, char: str) -> list[Part]:
        if self._closers:
            return self._push_arguments(char)
        if char in SPACE and not self._name:
            return []
        if self._needs_separator:
            if char not in ",]":
                raise MalformedCallError(f"{char!r} follows a call")
            self._needs_separator = False
            self.is_complete = char == "]"
        elif char == "(" and self._name in self._functions:
            self._source, self._closers = [char], [")"]
        else:
            self._push_name(char)
        return []

    def finish(self) -> list[Part]:
        if self._closers or self._name or not self._needs_separator:
            raise MalformedCallError("the answer ends before the call is complete")
        return []

    def _push_name(self, char: str) -> None:
        self._name += char
        if not any(function.startswith(self._name) for function in self._functions):
            raise MalformedCallError(f"there is no function {self._name!r}")

    def _push_arguments(self, char: str) -> list[Part]:
        self._source.append(char)
        if self._quote:
            if self._is_escaped:
                self._is_escaped = False
            elif char == "\\":
                self._is_escaped = True
            elif char == self._quote:
                self._quote = ""
        elif char in "'\"":
            self._quote = char
        elif char in BRACKETS:
            self._closers.append(BRACKETS[char])
        elif char in BRACKETS.values():
            if self._closers.pop() != char:
                raise MalformedCallError(f"{char!r} closes another bracket")
            if not self._closers:
                return self._end_call()
        return []

    def _end_call(self) -> list[Part]:
        part = (self._name, _arguments("".join(self._source)))
        self._name = ""
        self._needs_separator = True
        return [part]


def _arguments(source: str) -> str:
    """The keyword arguments of a Python call as JSON. Raises MalformedCallError."""
    try:
        call = ast.parse("f" + source.replace("\n", " "), mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            raise MalformedCallError("arguments have names")
        values = {keyword.arg: ast.literal_eval(_Constants().visit(keyword.value)) for keyword in call.keywords}
        if None in values:
            raise MalformedCallError("arguments have names")
        return json.dumps(values, ensure_ascii=False)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise MalformedCallError(f"{source:.40} is not Python: {error}") from error


class _Constants(ast.NodeTransformer):
    """JSON's words as Python's."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(CONSTANTS[node.id]) if node.id in CONSTANTS else node

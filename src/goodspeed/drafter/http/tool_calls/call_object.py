"""Reads a call in the form {"name": ..., "arguments": {...}} as it comes."""

import json
from collections.abc import Callable

from goodspeed.drafter.http.stop_cut import StopCut
from goodspeed.drafter.http.tool_calls.call_delta import MalformedCallError, Part
from goodspeed.drafter.http.tool_calls.json_scanner import Boundary, JsonScanner, escaped

NAMES = ("name", "function")
ARGUMENTS = ("arguments", "parameters")
KEYS = (*NAMES, *ARGUMENTS, "type", "id")
"""The last two are added by some models and have no effect."""


class CallObject:
    """A Candidate for one call. The call is certain with its name and the start of its arguments.

    From then on the arguments are passed on as the model writes them, control characters in strings escaped. If they
    stop being JSON, all that follows up to the closer is passed on as arguments: the user's code sees what is wrong.
    """

    def __init__(self, is_function: Callable[[str], bool], closer: str, *, needs_arguments: bool = False) -> None:
        """`is_function`: whether a call may have this name. `closer`: a text that ends a call; empty: only the answer
        does. `needs_arguments`: an object without them is no call.
        """
        self.is_complete = False
        self.is_closed = False
        """The closer was read, after arguments that are not JSON."""
        self.has_arguments = False
        """The arguments are complete."""
        self._verbatim: StopCut | None = None
        self._closer = closer
        self._is_function = is_function
        self._needs_arguments = needs_arguments
        self._scanner = JsonScanner()
        self._source: list[str] = []  # of the key or value that is being read
        self._key = ""
        self._name = ""
        self._arguments: list[str] = []  # not passed on yet
        self._is_in_arguments = False
        self._has_begun = False

    def push(self, char: str) -> list[Part]:
        """As Candidate.push; it raises MalformedCallError also for what follows complete arguments."""
        if self._verbatim:
            return self._push_verbatim(char, self._verbatim)
        try:
            self._scanner.push(char)
        except ValueError as error:
            if not self._has_begun or self.has_arguments:
                raise MalformedCallError(str(error)) from error
            self._verbatim = StopCut((self._closer,) if self._closer else ())
            return self._push_verbatim(char, self._verbatim)
        self._read(escaped(char) if self._scanner.is_in_string else char)
        self.is_complete = self._scanner.is_complete
        if self.is_complete:
            self._check_complete()
            return self._parts() or [("", "")]
        return self._parts()

    def finish(self) -> list[Part]:
        """Raises MalformedCallError unless the call is certain."""
        if not self._has_begun:
            raise MalformedCallError("the answer ends before the call is certain")
        return [("", self._verbatim.flush())] if self._verbatim else []

    def _push_verbatim(self, char: str, verbatim: StopCut) -> list[Part]:
        text = verbatim.push(char)
        self.is_closed = self.is_complete = verbatim.is_cut
        return [("", text)]

    def _read(self, text: str) -> None:
        match self._scanner.boundary:
            case Boundary.KEY_START:
                self._source = []
            case Boundary.VALUE_START:
                self._source = []
                self._begin_value(text)
        (self._arguments if self._is_in_arguments else self._source).append(text)
        match self._scanner.boundary:
            case Boundary.KEY_END:
                self._end_key()
            case Boundary.VALUE_END:
                self._end_value()

    def _end_key(self) -> None:
        self._key = json.loads("".join(self._source))
        if self._key not in KEYS:
            raise MalformedCallError(f"a call has no {self._key!r}")

    def _begin_value(self, first: str) -> None:
        if self._key in ARGUMENTS:
            if self.has_arguments or first not in '{"n':
                raise MalformedCallError("arguments are an object")
            self._is_in_arguments = first == "{"

    def _end_value(self) -> None:
        if self._key in NAMES:
            self._end_name("".join(self._source))
        elif self._is_in_arguments:
            self._is_in_arguments = False
            self.has_arguments = True
        elif self._key in ARGUMENTS and self._source[0] == '"':
            self._arguments = [_object_in("".join(self._source))]
            self.has_arguments = True

    def _end_name(self, source: str) -> None:
        name = json.loads(source) if source.startswith('"') else None
        if not isinstance(name, str) or not self._is_function(name) or self._name not in {"", name}:
            raise MalformedCallError(f"there is no function {source}")
        self._name = name

    def _check_complete(self) -> None:
        if not self._name or (self._needs_arguments and not self.has_arguments):
            raise MalformedCallError("a call has a name and arguments")
        if not self.has_arguments:
            self._arguments = ["{}"]
            self.has_arguments = True

    def _parts(self) -> list[Part]:
        """What is certain: nothing before the name and the start of the arguments."""
        if not self._name or not self._arguments:
            return []
        arguments, self._arguments = "".join(self._arguments), []
        name = "" if self._has_begun else self._name
        self._has_begun = True
        return [(name, arguments)]


def _object_in(source: str) -> str:
    """The object in a JSON string. Raises MalformedCallError."""
    text = json.loads(source)
    try:
        found = json.loads(text, strict=False)
    except (ValueError, RecursionError) as error:
        raise MalformedCallError(f"arguments are {text:.40}, expected an object") from error
    if not isinstance(found, dict):
        raise MalformedCallError(f"arguments are {text:.40}, expected an object")
    return str(text)

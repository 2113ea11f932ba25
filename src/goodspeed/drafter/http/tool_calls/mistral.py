"""The formats of Mistral: [TOOL_CALLS][{"name": ..., "arguments": {...}}], and [TOOL_CALLS]name[ARGS]{...}."""

import json
import re
from dataclasses import dataclass

from goodspeed.drafter.http.tool_calls.call_delta import MalformedCallError, Part
from goodspeed.drafter.http.tool_calls.call_object import CallObject
from goodspeed.drafter.http.tool_calls.json_scanner import SPACE

OPENER, CALL_ID, ARGS = "[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"
HEADER = re.compile(r"([\w.:/-]+)\s*(\[CALL_ID\]\w*\s*)?(\[ARGS\]\s*)?")
HEADER_CHARACTER = re.compile(r"[\w.:/\[\]\s-]")
MAX_HEADER = 300


@dataclass(slots=True)
class _Progress:
    """What was read since [TOOL_CALLS], beside the call that is being read."""

    is_list: bool = False
    header: str = ""
    """What comes before the arguments of a call with its name outside the object."""
    has_name_outside: bool = False
    needs_separator: bool = False
    """A call was read: a comma or the end of the list follows."""


class MistralCalls:
    """A Candidate, after [TOOL_CALLS]: a list of calls, or a name and its arguments."""

    def __init__(self) -> None:
        self.is_complete = False
        self._call: CallObject | None = None
        self._progress = _Progress()

    def push(self, char: str) -> list[Part]:
        if self._call:
            return self._push_call(char, self._call)
        if self._progress.is_list:
            return self._push_list(char)
        if self._progress.header or char not in "[{" + SPACE:
            return self._push_header(char)
        if char == "[":
            self._progress.is_list = True
        elif char == "{":
            self._start_call(char)
        return []

    def finish(self) -> list[Part]:
        if self._call is None and not self._progress.needs_separator:
            raise MalformedCallError("the answer ends before the call is certain")
        return self._call.finish() if self._call else []

    def _start_call(self, text: str) -> CallObject:
        self._call = call = CallObject(bool, OPENER)
        for char in text:
            call.push(char)
        return call

    def _push_call(self, char: str, call: CallObject) -> list[Part]:
        parts = call.push(char)
        if self._progress.has_name_outside and call.has_arguments:
            parts += call.push("}")
        if call.is_closed:  # by the opener of the next call
            self._call, self._progress = None, _Progress()
        elif call.is_complete:
            self._call = None
            self._progress.needs_separator = True
            self.is_complete = not self._progress.is_list
        return parts

    def _push_list(self, char: str) -> list[Part]:
        if char in SPACE:
            return []
        if char == "{" and not self._progress.needs_separator:
            self._start_call(char)
        elif char == "," and self._progress.needs_separator:
            self._progress.needs_separator = False
        elif char == "]" and self._progress.needs_separator:
            self.is_complete = True
        else:
            raise MalformedCallError(f"{char!r} in a list of calls")
        return []

    def _push_header(self, char: str) -> list[Part]:
        if char == "{":
            header = HEADER.fullmatch(self._progress.header)
            if not header:
                raise MalformedCallError(f"{self._progress.header!r} is no name of a function")
            self._progress.has_name_outside = True
            call = self._start_call('{"name": ' + json.dumps(header[1]) + ', "arguments": ')
            return self._push_call(char, call)
        if not HEADER_CHARACTER.match(char) or len(self._progress.header) > MAX_HEADER:
            raise MalformedCallError(f"{char!r} in the name of a function")
        self._progress.header += char
        return []

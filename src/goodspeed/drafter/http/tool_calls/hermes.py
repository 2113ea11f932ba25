"""The format of Hermes and Qwen: <tool_call>{"name": ..., "arguments": {...}}</tool_call>."""

from goodspeed.drafter.http.tool_calls.call_delta import MalformedCallError, Part
from goodspeed.drafter.http.tool_calls.call_object import CallObject

OPENER, CLOSER = "<tool_call>", "</tool_call>"


class HermesCall:
    """A Candidate, after <tool_call>. The closing tag may be missing at the end of an answer."""

    def __init__(self) -> None:
        self.is_complete = False
        self._call = CallObject(bool, CLOSER)
        self._is_call_over = False
        self._tail = ""  # what follows the object

    def push(self, char: str) -> list[Part]:
        if self._is_call_over:
            return self._push_tail(char)
        try:
            parts = self._call.push(char)
        except MalformedCallError:
            if not self._call.has_arguments:
                raise
            self._is_call_over = True  # some models forget the last brace
            return self._push_tail(char)
        self._is_call_over = self._call.is_complete
        self.is_complete = self._call.is_closed
        return parts

    def finish(self) -> list[Part]:
        return self._call.finish()

    def _push_tail(self, char: str) -> list[Part]:
        self._tail = (self._tail + char).lstrip()
        if not CLOSER.startswith(self._tail):
            raise MalformedCallError(f"{self._tail!r} follows the object")
        self.is_complete = self._tail == CLOSER
        return []

"""Finds the calls in the text of an answer as it comes, in any format."""

from collections.abc import Callable, Mapping, Sequence

from goodspeed.drafter.http.tool_calls.call_delta import CallDelta, Candidate, Delta, MalformedCallError, Part, joined

MAX_READ_AGAIN = 8
"""Characters that are read again, for each of the text: without a limit nested starts of calls take quadratic time."""


class ToolParser:
    """Splits an answer into text and calls.

    It reads one character at a time, so the deltas, joined, do not depend on how the text was cut into pieces. A
    malformed call is text. Padding next to a call, such as white space, is part of the format and left out.
    """

    def __init__(
        self, openers: Mapping[str, Callable[[], Candidate]], padding: str, max_calls: int | None = None
    ) -> None:
        """`openers`: what a call begins with, and what reads on from there. Calls after `max_calls` are left out."""
        self.is_done = False
        """There were `max_calls` calls."""
        self._openers = openers
        self._padding = padding
        self._max_calls = max_calls
        self.num_calls = 0
        """Calls that have begun."""
        self._candidate: Candidate | None = None
        self._held: list[str] = []  # characters that are neither text nor a part of a call yet
        self._opener = ""  # the start of an opener among them, at their end
        self._num_opening = 0  # held characters up to the end of the candidate's opener
        self._is_after_call = False
        self._num_left = 1000  # characters that may be read again
        self._deltas: list[Delta] = []

    def push(self, text: str) -> list[Delta]:
        """What the next part of the text adds."""
        for char in text:
            self._num_left += MAX_READ_AGAIN
            self._read([char])
        return self._take()

    def finish(self) -> list[Delta]:
        """What was held back, at the end of the answer. Call it once."""
        while self._candidate:
            try:
                self._add(self._candidate.finish())
                self._end_candidate()
            except MalformedCallError:
                self._read(self._rejected())
        self._show(self._held)
        return self._take()

    def _read(self, unread: list[str]) -> None:
        """Characters in reversed order; those that turn out to be no call are read again as text."""
        while unread and not self.is_done:
            char = unread.pop()
            if self._candidate is None:
                unread.extend(self._read_text(char))
                continue
            self._held.append(char)
            try:
                self._add(self._candidate.push(char))
            except MalformedCallError:
                unread.extend(self._rejected())
            else:
                if self._candidate.is_complete:
                    self._end_candidate()

    def _read_text(self, char: str) -> Sequence[str]:
        """Returns what must be read again, in reversed order."""
        opener = self._opener + char
        if any(known.startswith(opener) for known in self._openers):
            self._held.append(char)
            self._opener = opener
            if opener in self._openers:
                self._candidate = self._openers[opener]()
                self._num_opening = len(self._held)
                self._opener = ""
            return ()
        if self._opener:  # it was none: only its first character is certain to be text
            num_certain = len(self._held) - len(self._opener) + 1
            self._opener = ""
            again = [*self._held[num_certain:], char]
            self._show(self._held[:num_certain])
            return again[::-1]
        if char not in self._padding:
            self._show([*self._held, char])
        elif not self._is_after_call:
            self._held.append(char)
        return ()

    def _rejected(self) -> list[str]:
        """The candidate is no call: show its opener. Returns the rest, which is to be read again, in reversed order."""
        self._candidate = None
        rest = self._held[self._num_opening :]
        if len(rest) > self._num_left:
            self._show(self._held)
            return []
        self._num_left -= len(rest)
        self._show(self._held[: self._num_opening])
        return rest[::-1]

    def _end_candidate(self) -> None:
        self._candidate = None
        self._forget_held()
        self._is_after_call = True
        self.is_done = self.num_calls == self._max_calls

    def _add(self, parts: Sequence[Part]) -> None:
        for name, arguments in parts:
            if name and self.num_calls == self._max_calls:
                self.is_done = True
                break
            self.num_calls += bool(name)
            if name or arguments:
                self._deltas.append(CallDelta(self.num_calls - 1, arguments, name))
        if parts:
            self._forget_held()

    def _show(self, chars: Sequence[str]) -> None:
        if chars:
            self._deltas.append("".join(chars))
            self._is_after_call = False
        self._forget_held()

    def _forget_held(self) -> None:
        self._held = []
        self._num_opening = 0

    def _take(self) -> list[Delta]:
        taken, self._deltas = joined(self._deltas), []
        return taken

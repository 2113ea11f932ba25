"""What a tool parser finds: text for the user, and parts of calls. Also what it is asked to look for."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol


class MalformedCallError(Exception):
    """What looked like a call is none. The text so far is the user's."""


@dataclass(frozen=True, slots=True)
class CallDelta:
    """The next part of a call."""

    index: int
    """Number of the call in its answer, from 0."""
    arguments: str
    """The next part of the arguments, which are JSON."""
    name: str = ""
    """The function, in the first part of each call; else empty."""
    call_id: str = ""
    """The call's id, in the first part; the parsers leave it empty."""


Delta = str | CallDelta
"""A part of an answer in the order of the model's text: visible text, or a part of a call."""


Part = tuple[str, str]
"""A part of a call as (name, arguments): with a name it begins the next call, else it goes on with the latest.

An empty part says that all characters so far belong to calls.
"""


class Candidate(Protocol):
    """Reads what may be one or more calls, from the character after an opener on."""

    @property
    def is_complete(self) -> bool:
        """There is nothing more to read: the next character is text again."""

    def push(self, char: str) -> list[Part]:
        """Parts of calls that became certain.

        Raises MalformedCallError if the characters since the last certain part are no part of a call.
        """

    def finish(self) -> list[Part]:
        """At the end of the answer: the last parts. Raises MalformedCallError as `push`."""


def joined(deltas: Iterable[Delta]) -> list[Delta]:
    """Adjacent text, and adjacent parts of one call, as one delta."""
    result: list[Delta] = []
    for delta in deltas:
        last = result[-1] if result else None
        if isinstance(delta, str) and isinstance(last, str):
            result[-1] = last + delta
        elif isinstance(delta, CallDelta) and isinstance(last, CallDelta) and delta.index == last.index:
            result[-1] = replace(last, arguments=last.arguments + delta.arguments)
        elif delta:
            result.append(delta)
    return result

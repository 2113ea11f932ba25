"""Replay: a recorded event log is told to a fresh core, which must decide the same."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from goodspeed.errors import ConfigError

Event = Mapping[str, Any]
"""A line of the log, parsed."""


class ReplayableCore(Protocol):
    """A core that lives through its log again."""

    def logged_decision(self, event: Event) -> object:
        """What was decided on the event's fact when it was recorded, in plain form."""

    def replayed_decision(self, event: Event) -> object:
        """What is decided on it now."""


@dataclass(frozen=True, slots=True)
class DecisionDifference:
    """The first decision that came out otherwise."""

    line: int  # of the log, from 1
    logged: object
    replayed: object


def replay_log(lines: Iterable[str], begin: Callable[[Event], ReplayableCore]) -> DecisionDifference | None:
    """The first difference between the log's decisions and those of a fresh core told the same facts, or None.

    Raises as `decisions` does.
    """
    return next((difference for difference in compare_decisions(lines, begin) if difference), None)


def compare_decisions(
    lines: Iterable[str], begin: Callable[[Event], ReplayableCore]
) -> Iterator[DecisionDifference | None]:
    """For each event in turn, whether what is decided on it differs from the log; the first difference is the last.

    `begin` makes the core from a start event; a log may hold several runs, each of which begins with one. Raises
    ConfigError for a line that is no event.
    """
    core: ReplayableCore | None = None
    for number, line in enumerate(lines, start=1):
        try:
            event = json.loads(line)
            if event["event"] == "start":
                core = begin(event)
                continue
            assert core is not None, "the log does not begin with a start event"
            logged, replayed = core.logged_decision(event), core.replayed_decision(event)
        except (ValueError, KeyError, AssertionError, TypeError, msgspec.ValidationError) as error:
            raise ConfigError(f"line {number} of the event log: {error!r}") from error
        if json.dumps(logged) != json.dumps(replayed):
            yield DecisionDifference(number, logged, replayed)
            return
        yield None

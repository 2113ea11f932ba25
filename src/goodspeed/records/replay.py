"""Replay: a new core gets the inputs of an event log, and must make the decisions of the log."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from goodspeed.errors import DataError, GoodSpeedError
from goodspeed.records.event_log import Event, check_start, read_events


class ReplayableCore(Protocol):
    """A core that takes its inputs from an event log."""

    def logged_decision(self, event: Event) -> object:
        """The decision that the event holds, as JSON values."""

    def replayed_decision(self, event: Event) -> object:
        """Give the event's input to the core, and return what the core decides, in the same form."""


@dataclass(frozen=True, slots=True)
class DecisionDifference:
    """The first decision of a replay that differs from the log's."""

    line: int  # of the log, from 1
    logged: object
    replayed: object


def replay_log(lines: Iterable[str], make_core: Callable[[Event], ReplayableCore]) -> DecisionDifference | None:
    """The first difference between the decisions of the log and those of a new core; None: there is none.

    Raises DataError as compare_decisions does.
    """
    return next((difference for difference in compare_decisions(lines, make_core) if difference), None)


def compare_decisions(
    lines: Iterable[str], make_core: Callable[[Event], ReplayableCore]
) -> Iterator[DecisionDifference | None]:
    """For each decision in turn: None, or how the core's differs from the log's. Ends after the first difference.

    `make_core` makes the core from a start event. Raises DataError, which names the line, for a log that is empty, has
    another format, has a line that is no event, or holds an input that its core cannot take.
    """
    core: ReplayableCore | None = None
    for number, event in read_events(lines):
        try:
            if event["event"] == "start":
                check_start(event)
                core = make_core(event)
                continue
            if core is None:
                raise DataError("expected a start event first")
            logged, replayed = core.logged_decision(event), core.replayed_decision(event)
        except GoodSpeedError as error:
            raise DataError(f"line {number} of the event log: {error}") from error
        except Exception as error:  # a foreign log gives the core inputs that no host would; any error may come of it
            raise DataError(f"line {number} of the event log: the core cannot take it: {error!r}") from error
        if json.dumps(logged) != json.dumps(replayed):
            yield DecisionDifference(number, logged, replayed)
            return
        yield None
    if core is None:
        raise DataError("the event log is empty, expected a start event")

"""Event logs are compared line by line; a log that cannot be replayed is a DataError that names the line."""

import json
from collections.abc import Sequence

import pytest

from goodspeed.errors import ConfigError, DataError
from goodspeed.records.event_log import FORMAT, Event
from goodspeed.records.replay import DecisionDifference, compare_decisions, replay_log


class Doubling:
    """A core that doubles a number."""

    def __init__(self, start: Event) -> None:
        if "factor" not in start:
            raise ConfigError("unknown key 'faktor'; did you mean 'factor'?")
        self._factor = start["factor"]

    def logged_decision(self, event: Event) -> object:
        return event["decision"]

    def replayed_decision(self, event: Event) -> object:
        if event["number"] < 0:
            raise OverflowError("a number below 0")
        return self._factor * event["number"]


def line(event: str, **fields: object) -> str:
    """A line of a log."""
    return json.dumps({"event": event, "now": 0.0, **fields}) + "\n"


START = line("start", format=FORMAT, factor=2)
DOUBLED = [line("double", number=number, decision=2 * number) for number in range(3)]


def test_equal_decisions_are_no_difference() -> None:
    assert list(compare_decisions([START, *DOUBLED], Doubling)) == [None] * 3


def test_the_replay_ends_at_the_first_difference() -> None:
    wrong = line("double", number=3, decision=7)
    lines = [START, *DOUBLED, wrong, wrong]
    assert list(compare_decisions(lines, Doubling)) == [None, None, None, DecisionDifference(5, 7, 6)]
    assert replay_log(lines, Doubling) == DecisionDifference(5, 7, 6)


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([], "the event log is empty"),
        ([*DOUBLED], "line 1 of the event log: expected a start event first"),
        ([START, "hello\n"], "line 2 of the event log: Expecting value"),
        ([START, "\n"], "line 2 of the event log: Expecting value"),
        ([START, DOUBLED[0], DOUBLED[1][:20]], "line 3 of the event log: no complete JSON; was its writer stopped"),
        ([START, "[1]\n"], "line 2 of the event log: expected an object with the name of an event"),
        ([START, "{}\n"], "line 2 of the event log: expected an object with the name of an event"),
        ([START, '{"event": 7}\n'], "line 2 of the event log: expected an object with the name of an event"),
        ([line("start", factor=2)], f"line 1 of the event log: the log has format 1, .* reads format {FORMAT}"),
        ([line("start", format=99, factor=2)], "line 1 of the event log: the log has format 99"),
        ([line("start", format=FORMAT, faktor=2)], "line 1 of the event log: unknown key 'faktor'"),
        ([START, line("double", decision=0)], "line 2 of the event log: the core cannot take it: KeyError.'number'"),
        ([START, line("double", number=-1, decision=-2)], "line 2 .* cannot take it: OverflowError.'a number below 0"),
    ],
)
def test_a_log_that_cannot_be_replayed_is_an_error_that_names_the_line(lines: Sequence[str], complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        replay_log(lines, Doubling)

"""Every command has a help text with an example."""

import argparse
from collections.abc import Iterator

import pytest

from goodspeed.commands.parser import complete_parser


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser and those of its commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from parsers(command)


@pytest.mark.parametrize("parser", list(parsers(complete_parser())), ids=lambda parser: parser.prog)
def test_help_has_usage_and_an_example(parser: argparse.ArgumentParser) -> None:
    shown = parser.format_help()
    assert "usage:" in shown
    is_leaf = not any(isinstance(action, argparse._SubParsersAction) for action in parser._actions)
    assert ("example" in shown) or not is_leaf


@pytest.mark.parametrize("command", ["verifier", "drafter", "up", "bench", "demo", "simulate"])
def test_help_begins_with_the_few_flags_that_one_needs_first(command: str) -> None:
    (parser,) = [found for found in parsers(complete_parser()) if found.prog == f"goodspeed {command}"]
    first = parser._action_groups[0]
    assert first.title == "to start with"
    assert 4 <= len(first._group_actions) <= 6
    assert parser.format_help().count("to start with:") == 1

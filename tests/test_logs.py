"""Structured log lines."""

import io
import logging
import re
from collections.abc import Iterator

import pytest

from goodspeed.logs import set_up_logging


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Captures log lines, and restores the logging configuration."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    set_up_logging("INFO", stream)
    yield stream
    root.handlers[:], root.level = handlers, level


def test_a_line_has_time_level_event_and_quoted_pairs(lines: io.StringIO) -> None:
    logging.getLogger("goodspeed.x").info("stream ended", extra={"ids": {"stream": 7, "reason": "no room"}})
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO goodspeed\.x stream ended stream=7 reason='no room'\n",
        lines.getvalue(),
    )


def test_lines_of_other_libraries_have_no_pairs(lines: io.StringIO) -> None:
    logging.getLogger("other").warning("plain %s", "text")
    assert lines.getvalue().endswith("WARNING other plain text\n")

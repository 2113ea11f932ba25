"""Structured logs: one line per state change, `time level logger event key=value ...`.

A component logs with `log.info("stream opened", extra={"ids": {"conn": 3, "stream": 7}})`. Libraries that use the
standard logging package get the same line without keys.
"""

import logging
import sys
import time
from collections.abc import Mapping
from typing import TextIO

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
LINE = "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s%(pairs)s"


def set_up_logging(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Write every log line of this process to the stream (default: stderr), with times in UTC. Call it once."""
    formatter = logging.Formatter(LINE, datefmt="%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter)
    handler.addFilter(_add_pairs)
    logging.basicConfig(level=level, handlers=[handler], force=True)


def _add_pairs(record: logging.LogRecord) -> bool:
    ids: Mapping[str, object] = record.__dict__.get("ids", {})
    record.pairs = "".join(f" {key}={_quoted(value)}" for key, value in ids.items())
    return True


def _quoted(value: object) -> str:
    text = str(value)
    return repr(text) if not text or any(char in text for char in " '\"=\n") else text

"""The traffic log, for `goodspeed tune`: prompts, answers and rejected draft tokens of live streams. It is opt-in.

One line of JSON per finished stream, in the form that `tune collect` reads: prompt and answer in tokens,
[index in the answer, token] of each rejected draft token, temperature and seed. The log holds what users wrote.
"""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from goodspeed.decoding.draft import StreamKey
from goodspeed.decoding.sampling import Sampling
from goodspeed.drafter.core.engine_updates import DraftWork, EngineUpdate, StreamClosed, StreamCommitted, StreamOpened
from goodspeed.drafter.draft_runner import DraftResult, DraftRunner, OnDrafted
from goodspeed.errors import ConfigError

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Exchange:
    """A prompt and the answer so far."""

    prompt: tuple[int, ...]
    sampling: Sampling
    answer: list[int] = field(default_factory=list)
    rejected: list[tuple[int, int]] = field(default_factory=list)
    proposed: tuple[int, ...] = ()
    """Draft tokens on top of the answer so far."""

    def commit(self, tokens: tuple[int, ...]) -> None:
        for index, (proposed, committed) in enumerate(zip(self.proposed, tokens, strict=False), len(self.answer)):
            if proposed != committed:
                self.rejected.append((index, proposed))
                break
        self.proposed = ()
        self.answer.extend(tokens)


class TrafficLog:
    """A file to which finished streams are appended. The first write error is logged and ends the log."""

    def __init__(self, path: Path, client: str) -> None:
        """Raises ConfigError if the file cannot be opened."""
        self._client = client
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered, so that close() has nothing to write that may not fit on the disk.
            self._file: BinaryIO | None = path.open("ab", buffering=0)
        except OSError as error:
            raise ConfigError(f"cannot write the traffic log {path}: {error}") from error

    def append(self, exchange: _Exchange) -> None:
        """A stream that has ended. Without an answer it is left out."""
        if self._file is None or not exchange.answer:
            return
        line = {
            "prompt": exchange.prompt,
            "answer": exchange.answer,
            "rejected": exchange.rejected,
            "client": self._client,
            "temperature": exchange.sampling.temperature,
            "seed": exchange.sampling.seed,
            "rule": exchange.sampling.rule.name.lower(),
        }
        try:
            self._file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        except OSError as error:
            log.warning("traffic is no longer logged", extra={"ids": {"reason": error}})
            self.close()

    def close(self) -> None:
        if self._file:
            self._file.close()
        self._file = None


class TrafficLoggingRunner:
    """A DraftRunner that writes a traffic log of the work that passes through it."""

    def __init__(self, runner: DraftRunner, traffic_log: TrafficLog) -> None:
        self._runner = runner
        self._log = traffic_log
        self._exchanges: dict[StreamKey, _Exchange] = {}

    def submit(self, work: DraftWork, on_drafted: OnDrafted) -> None:
        for update in work.updates:
            self._apply(update)

        def on_done(result: DraftResult) -> None:
            for request, draft in zip(work.requests, result.drafts, strict=True):
                self._exchanges[request.stream].proposed = draft.tokens
            on_drafted(result)

        self._runner.submit(work, on_done)

    def close(self) -> None:
        self._runner.close()
        self._log.close()

    def _apply(self, update: EngineUpdate) -> None:
        if isinstance(update, StreamOpened):
            self._exchanges[update.stream] = _Exchange(update.tokens, update.sampling)
        elif isinstance(update, StreamCommitted):
            self._exchanges[update.stream].commit(update.tokens)
        elif isinstance(update, StreamClosed):
            self._log.append(self._exchanges.pop(update.stream))

"""Live traffic for `goodspeed tune`: what users asked, what the target said, and what was proposed in vain. Opt-in.

A line of JSON for every stream that has ended, in the form that `tune collect --recorded` reads: prompt and answer in
tokens, [place in the answer, token] of each rejected proposal, temperature and seed. It holds what users wrote.
"""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from goodspeed.decoding.draft import StreamKey
from goodspeed.decoding.sampling import Sampling
from goodspeed.drafter.core.decisions import DraftWork, EngineUpdate, StreamClosed, StreamCommitted, StreamOpened
from goodspeed.drafter.draft_runner import DraftResult, DraftRunner, OnDrafted
from goodspeed.errors import ConfigError

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Stream:
    prompt: tuple[int, ...]
    sampling: Sampling
    answer: list[int] = field(default_factory=list)
    rejected: list[tuple[int, int]] = field(default_factory=list)
    proposed: tuple[int, ...] = ()  # on top of the answer so far

    def commit(self, tokens: tuple[int, ...]) -> None:
        for place, (proposed, said) in enumerate(zip(self.proposed, tokens, strict=False), len(self.answer)):
            if proposed != said:
                self.rejected.append((place, proposed))
                break
        self.proposed = ()
        self.answer.extend(tokens)


class TrafficLog:
    """Appends lines; when the disk does not let it, it says so once and appends no more."""

    def __init__(self, path: Path, client: str) -> None:
        """Raises ConfigError if the file cannot be opened."""
        self._client = client
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO | None = path.open("ab", buffering=0)  # what close() has to write may not fit
        except OSError as error:
            raise ConfigError(f"cannot record traffic in {path}: {error}") from error

    def append(self, stream: _Stream) -> None:
        """One stream that has ended; without an answer it is of no use."""
        if self._file is None or not stream.answer:
            return
        line = {
            "prompt": stream.prompt,
            "answer": stream.answer,
            "rejected": stream.rejected,
            "client": self._client,
            "temperature": stream.sampling.temperature,
            "seed": stream.sampling.seed,
            "rule": stream.sampling.rule.name.lower(),
        }
        try:
            self._file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        except OSError as error:
            log.warning("traffic is no longer recorded", extra={"ids": {"why": error}})
            self.close()

    def close(self) -> None:
        if self._file:
            self._file.close()
        self._file = None


class TrafficLoggingRunner:
    """A DraftRunner that notes down what passes through it."""

    def __init__(self, drafting: DraftRunner, file: TrafficLog) -> None:
        self._drafting = drafting
        self._file = file
        self._streams: dict[StreamKey, _Stream] = {}

    def submit(self, work: DraftWork, on_drafted: OnDrafted) -> None:
        for note in work.notes:
            self._hear(note)

        def hand_on(drafted: DraftResult) -> None:
            for request, draft in zip(work.requests, drafted.drafts, strict=True):
                self._streams[request.stream].proposed = draft.tokens
            on_drafted(drafted)

        self._drafting.submit(work, hand_on)

    def close(self) -> None:
        self._drafting.close()
        self._file.close()

    def _hear(self, note: EngineUpdate) -> None:
        if isinstance(note, StreamOpened):
            self._streams[note.stream] = _Stream(note.tokens, note.sampling)
        elif isinstance(note, StreamCommitted):
            self._streams[note.stream].commit(note.tokens)
        elif isinstance(note, StreamClosed):
            self._file.append(self._streams.pop(note.stream))

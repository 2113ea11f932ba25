"""Replaces the draft engine while streams run: no stream is dropped, and no round waits.

The new engine is loaded, and reads the open streams, while the old one continues to draft. It takes over between two
pieces of work and starts with the updates that it has missed. Answers do not change: they do not depend on drafts.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from goodspeed.decoding.draft import StreamKey
from goodspeed.decoding.sampling import Sampling
from goodspeed.drafter.core.engine_updates import (
    DraftWork,
    EngineUpdate,
    StreamClosed,
    StreamCommitted,
    StreamOpened,
    apply_updates,
)
from goodspeed.drafter.draft_runner import DraftResult, DraftRunner, InlineDraftRunner, OnDrafted, ThreadDraftRunner
from goodspeed.engine.drafts import NO_ENGINE, DraftConfig, draft_engine, save_memory, transfer_learned_state
from goodspeed.engine.grammar.compiler import GrammarCompiler
from goodspeed.engine.grammar.constrained_engine import ConstrainedDraftEngine
from goodspeed.engine.interface import DraftEngine, ReadsLater
from goodspeed.models.tokenizer import Tokenizer

log = logging.getLogger(__name__)

QUICK_ENGINES = ("hybrid", "lookup", "table", "toy", NO_ENGINE)
"""Without a draft model these engines draft in microseconds, less than it takes to wake a thread."""

NumTokens = Mapping[StreamKey, int]
"""How many committed tokens of each stream an engine has."""


class SwappableDraft:
    """The draft engine of a drafter, which can be replaced; `runner` is for the server. Use it in one event loop."""

    def __init__(self, config: DraftConfig, tokenizer: Tokenizer) -> None:
        """Raises ConfigError or CheckpointError."""
        self.config = config
        self.num_swaps = 0
        self._tokenizer = tokenizer
        self.grammars = GrammarCompiler(tokenizer.to_json(), tokenizer.vocab_size, tokenizer.end_tokens)
        self._engine = self._load(config)
        constrained = ConstrainedDraftEngine(self._engine, self.grammars)
        self.runner = SwappableDraftRunner(runner_for(config, constrained))
        self._lock = asyncio.Lock()

    @property
    def has_failed(self) -> bool:
        """True if the engine has raised an error: nothing is drafted until `swap` replaces it."""
        return self.runner.has_failed

    @property
    def proposes(self) -> bool:
        """False: the engine never drafts a token."""
        return self.config.engine != NO_ENGINE

    async def swap(self, config: DraftConfig) -> None:
        """Replace the engine by that of `config`; returns when the new one drafts. It keeps what was learned online.

        Until then the old engine drafts, and if the new one cannot be loaded the old one stays. Raises ConfigError or
        CheckpointError.
        """
        async with self._lock:
            engine = await asyncio.to_thread(self._load, config)
            if _memory_of(config) == _memory_of(self.config):
                transfer_learned_state(self._engine, engine)
            constrained = ConstrainedDraftEngine(engine, self.grammars)
            await self.runner.swap(constrained, runner_for(config, constrained))
            self.config, self._engine = config, engine
            self.num_swaps += 1
            log.info("draft engine replaced", extra={"ids": {"draft": config.name, "swaps": self.num_swaps}})

    def save_memory(self) -> None:
        """Write what was learned to the file that the config names, if any. Raises CheckpointError."""
        save_memory(self._engine, self.config, self._tokenizer.vocab_size, self._tokenizer.fingerprint)

    def _load(self, config: DraftConfig) -> DraftEngine:
        return draft_engine(config, self._tokenizer.vocab_size, self._tokenizer.fingerprint)


def runner_for(config: DraftConfig, engine: DraftEngine) -> DraftRunner:
    is_quick = config.engine in QUICK_ENGINES and not config.model
    return InlineDraftRunner(engine) if is_quick else ThreadDraftRunner(engine)


def _memory_of(config: DraftConfig) -> tuple[str, str, int]:
    return config.memory, config.table, config.table_slots


class SwappableDraftRunner:
    """A DraftRunner whose engine can be replaced. Use it in one event loop."""

    def __init__(self, runner: DraftRunner) -> None:
        self.has_failed = False
        self._runner = runner
        self._streams = EngineStreams()
        self._successor: _Successor | None = None
        self._missed: list[EngineUpdate] = []  # by the engine that has just taken over
        self._is_busy = False
        self._lock = asyncio.Lock()

    def submit(self, work: DraftWork, on_drafted: OnDrafted) -> None:
        self._streams.apply(work.updates)
        updates, self._missed = (*self._missed, *work.updates), []
        self._is_busy = True

        def on_done(result: DraftResult) -> None:
            self._is_busy = False
            self.has_failed = result.has_failed
            self._take_over()
            on_drafted(result)

        self._runner.submit(replace(work, updates=updates), on_done)

    async def swap(self, engine: DraftEngine, runner: DraftRunner) -> None:
        """Replace the engine by `engine`, which has no stream yet and runs in `runner`; returns when it has taken over.

        The engine reads the open streams in another thread first. If that fails the old engine stays.
        """
        async with self._lock:
            num_read = self._streams.num_tokens()
            await asyncio.to_thread(_read, engine, list(self._streams.updates_since({})))
            successor = self._successor = _Successor(runner, num_read, asyncio.Event())
            if not self._is_busy:
                self._take_over()
            await successor.has_taken_over.wait()

    def close(self) -> None:
        self._runner.close()

    def _take_over(self) -> None:
        """Between two pieces of work, so that nothing waits for either engine."""
        if self._successor is None:
            return
        successor, self._successor = self._successor, None
        predecessor, self._runner = self._runner, successor.runner
        self.has_failed = False
        self._missed = list(self._streams.updates_since(successor.num_read))
        predecessor.close()
        successor.has_taken_over.set()


def _read(engine: DraftEngine, updates: Sequence[EngineUpdate]) -> None:
    apply_updates(engine, updates)
    while isinstance(engine, ReadsLater) and engine.catch_up():
        pass


@dataclass(slots=True)
class _Successor:
    runner: DraftRunner
    num_read: NumTokens
    has_taken_over: asyncio.Event


@dataclass(slots=True)
class _OpenStream:
    sampling: Sampling
    tokens: list[int]
    num_prompt: int


class EngineStreams:
    """The open streams of a draft engine, with their committed tokens."""

    def __init__(self) -> None:
        self._streams: dict[StreamKey, _OpenStream] = {}

    def apply(self, updates: Sequence[EngineUpdate]) -> None:
        """The updates that the engine is about to get."""
        for update in updates:
            if isinstance(update, StreamOpened):
                self._streams[update.stream] = _OpenStream(update.sampling, list(update.tokens), len(update.tokens))
            elif isinstance(update, StreamCommitted):
                self._streams[update.stream].tokens.extend(update.tokens)
            else:
                del self._streams[update.stream]

    def num_tokens(self) -> dict[StreamKey, int]:
        return {key: len(stream.tokens) for key, stream in self._streams.items()}

    def updates_since(self, known: NumTokens) -> Iterator[EngineUpdate]:
        """The updates that bring an engine with `known` to the present state."""
        yield from (StreamClosed(key) for key in known if key not in self._streams)
        for key, stream in self._streams.items():
            if key not in known and stream.sampling.constraint:  # its answer is read apart from the prompt
                yield StreamOpened(key, tuple(stream.tokens[: stream.num_prompt]), stream.sampling)
                yield StreamCommitted(key, tuple(stream.tokens[stream.num_prompt :]))
            elif key not in known:
                yield StreamOpened(key, tuple(stream.tokens), stream.sampling)
            elif len(stream.tokens) > known[key]:
                yield StreamCommitted(key, tuple(stream.tokens[known[key] :]))

"""The place of a drafter's draft engine: which one is there, and how another gets there."""

import asyncio
import logging

from goodspeed.drafter.draft_runner import DraftRunner, InlineDraftRunner, ThreadDraftRunner
from goodspeed.drafter.draft_swap import SwappableDraftRunner
from goodspeed.engine.drafts import DraftConfig, draft_engine, save_memory, transfer_learned_state
from goodspeed.engine.interface import DraftEngine
from goodspeed.models.tokenizer import Tokenizer

log = logging.getLogger(__name__)

QUICK_ENGINES = ("hybrid", "lookup", "table", "toy", "none")
"""Without a model of its own such an engine drafts in microseconds, less than it takes to wake a thread."""


class SwappableDraft:
    """A draft engine that can be exchanged while streams run; `drafting` is the server's. One event loop uses it."""

    def __init__(self, config: DraftConfig, tokenizer: Tokenizer) -> None:
        """Raises ConfigError or CheckpointError."""
        self.config = config
        self.num_swaps = 0
        self._tokenizer = tokenizer
        self._engine = self._load(config)
        self.drafting = SwappableDraftRunner(drafting_of(config, self._engine))
        self._turn = asyncio.Lock()

    async def swap(self, config: DraftConfig) -> None:
        """Have the engine of this config draft; returns when it does. What was learned online goes on being used.

        Until then, and where it cannot be loaded, the one that is there drafts. Raises ConfigError or CheckpointError.
        """
        async with self._turn:
            engine = await asyncio.to_thread(self._load, config)
            if _memory_of(config) == _memory_of(self.config):
                transfer_learned_state(self._engine, engine)
            await self.drafting.swap(engine, drafting_of(config, engine))
            self.config, self._engine = config, engine
            self.num_swaps += 1
            log.info("draft engine exchanged", extra={"ids": {"draft": config.name, "swaps": self.num_swaps}})

    def keep_memory(self) -> None:
        """Write what was learned where the config says. Raises CheckpointError."""
        save_memory(self._engine, self.config, self._tokenizer.vocab_size, self._tokenizer.fingerprint)

    def _load(self, config: DraftConfig) -> DraftEngine:
        return draft_engine(config, self._tokenizer.vocab_size, self._tokenizer.fingerprint)


def drafting_of(config: DraftConfig, engine: DraftEngine) -> DraftRunner:
    """Where this engine is to run."""
    is_quick = config.engine in QUICK_ENGINES and not config.model
    return InlineDraftRunner(engine) if is_quick else ThreadDraftRunner(engine)


def _memory_of(config: DraftConfig) -> tuple[str, str, int]:
    return config.memory, config.table, config.table_slots

"""Co-located drafts: what the verifier drafts by itself, in the engine's thread, just before a step.

Each stream has an index of its own text. What answers teach is kept per client, so that nothing of one client's
answers shows in another client's drafts, unless sharing is configured.
"""

import importlib.util
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from goodspeed.config import config_dataclass, option
from goodspeed.decoding.draft import Draft, DraftRequest, StreamKey
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.calibration import Calibration
from goodspeed.engine.draft_source import BatchedDraftSource
from goodspeed.engine.drafts import DEFAULT_TABLE, DraftConfig, initial_memory, neural_source, resolve_table
from goodspeed.engine.grammar.constrained_engine import ConstrainedCoLocatedDrafts
from goodspeed.engine.grammar.grammars import Grammars
from goodspeed.engine.hybrid import DraftKnowledge, HybridDraft
from goodspeed.engine.interface import CoLocatedDrafts, StreamSpec, TargetInfo
from goodspeed.engine.lookup import LookupSource
from goodspeed.engine.ngram_table import NGramSource, NGramTable
from goodspeed.engine.target_config import TargetConfig
from goodspeed.registry import Registry

log = logging.getLogger(__name__)

SHARED = ""
"""The client whose memory all streams use if learning is shared."""
KnowledgeT = TypeVar("KnowledgeT")
KnowledgeT_contra = TypeVar("KnowledgeT_contra", contravariant=True)


class KnowingDraft(Protocol[KnowledgeT_contra]):
    """A draft engine whose streams draft from different knowledge, and add to it."""

    def open_with(
        self, knowledge: KnowledgeT_contra, stream: StreamKey, tokens: Sequence[int], sampling: Sampling
    ) -> None:
        """Start a stream that drafts from this knowledge."""

    def draft(self, requests: Sequence[DraftRequest]) -> list[Draft]:
        """One draft per request, in order."""

    def commit(self, stream: StreamKey, tokens: Sequence[int]) -> None:
        """Extend the stream's committed text, and learn from it."""

    def close(self, stream: StreamKey) -> None:
        """End the stream."""


@config_dataclass
class CoLocatedConfig:
    """Co-located drafts: what the verifier drafts by itself."""

    engine: str = option(
        "hybrid",
        "how the verifier drafts: hybrid: lookup and n-gram table, each token from the better; lookup; none",
        choices=lambda: CO_LOCATED_ENGINES,
    )
    model: str = option(
        "",
        "hybrid: a draft model as third source, on the target's device; needs PyTorch, or llama.cpp for a .gguf file",
    )
    table: str = option(
        DEFAULT_TABLE,
        "hybrid: n-gram table to start from: a file, none, or default: the one shipped for the tokenizer",
    )
    learned_slots: int = option(
        2**14, "hybrid: contexts that are learned from the answers of one client, 17 bytes each", ge=8, le=2**26
    )
    max_clients: int = option(
        64,
        "hybrid: clients whose contexts are kept in memory; the one that opened a stream longest ago is forgotten",
        ge=1,
        le=2**16,
    )
    shared: bool = option(
        False,
        "hybrid: all clients learn into one table; a client can then tell from which drafts are accepted what others' "
        "answers contain",
    )
    kv_memory_mb: int = option(
        256, "model: its KV cache, in MB (2**20 bytes); a stream without room in it gets no drafts of it", ge=1
    )


def co_located_drafts(
    config: CoLocatedConfig, target: TargetConfig, info: TargetInfo, grammars: Grammars | None = None
) -> "FailSafeCoLocatedDrafts | None":
    """The drafts of a verifier with this target; None if it drafts nothing. A failure in them ends them, not a step.

    Raises ConfigError or CheckpointError.
    """
    drafts = CO_LOCATED_ENGINES[config.engine](config, target, info)
    return None if drafts is None else FailSafeCoLocatedDrafts(drafts, grammars)


@dataclass(slots=True)
class _ClientMemory(Generic[KnowledgeT]):
    """What the answers of one client have taught."""

    knowledge: KnowledgeT
    num_streams: int = 0


@dataclass(slots=True)
class _Stream(Generic[KnowledgeT]):
    spec: StreamSpec
    memory: _ClientMemory[KnowledgeT]
    is_open: bool = False
    """Whether the engine has read the prefix, which is put off until the first request."""
    pending: list[int] = field(default_factory=list)
    """Committed tokens that the engine has not read yet."""


class HybridCoLocatedDrafts(Generic[KnowledgeT]):
    """Co-located drafts by lookup, an n-gram table and optionally a draft model, with bounded memory.

    Beyond `max_clients` the client that opened a stream longest ago is forgotten, unless it has streams. If all have
    streams, what a new client's answers teach is dropped with its streams.
    """

    def __init__(
        self,
        engine: KnowingDraft[KnowledgeT],
        new_knowledge: Callable[[], KnowledgeT],
        max_clients: int,
        is_shared: bool,
        neural: BatchedDraftSource | None = None,
    ) -> None:
        """`new_knowledge`: what the streams of a client draft from of which nothing is known."""
        self._engine = engine
        self._neural = neural
        if neural is not None:
            neural.read_later()
        self._num_reported = 0  # of num_without_memory
        self._new_knowledge = new_knowledge
        self._max_clients = max_clients
        self._is_shared = is_shared
        self._memories: dict[str, _ClientMemory[KnowledgeT]] = {}  # the client that opened a stream longest ago first
        self._streams: dict[StreamKey, _Stream[KnowledgeT]] = {}

    @property
    def num_clients(self) -> int:
        """Clients whose answers are remembered."""
        return len(self._memories)

    @property
    def num_without_memory(self) -> int:
        """How often there was no memory for a stream of the draft model, so that lookup and table drafted alone."""
        return self._neural.num_without_memory if self._neural else 0

    def open(self, stream: StreamKey, spec: StreamSpec) -> None:
        memory = self._memory(SHARED if self._is_shared else spec.client)
        memory.num_streams += 1
        self._streams[stream] = _Stream(spec, memory)

    def draft(self, requests: Sequence[DraftRequest]) -> list[Draft]:
        for request in requests:
            self._catch_up(request.stream)
        drafts = self._engine.draft(requests)
        if self._neural is not None:
            self._neural.catch_up()  # a piece in each step, so that no step waits for a whole prompt
        if self.num_without_memory > self._num_reported:
            self._num_reported = self.num_without_memory
            log.warning("no memory for the draft model's cache", extra={"ids": {"num_streams": len(self._streams)}})
        return drafts

    def commit(self, stream: StreamKey, tokens: Sequence[int]) -> None:
        self._streams[stream].pending.extend(tokens)

    def close(self, stream: StreamKey) -> None:
        closed = self._streams.pop(stream)
        closed.memory.num_streams -= 1
        if closed.is_open:
            self._engine.commit(stream, closed.pending)
            self._engine.close(stream)

    def _catch_up(self, key: StreamKey) -> None:
        stream = self._streams[key]
        if not stream.is_open:
            self._engine.open_with(stream.memory.knowledge, key, stream.spec.tokens, stream.spec.sampling)
            stream.is_open = True
        if stream.pending:
            self._engine.commit(key, stream.pending)
            stream.pending.clear()

    def _memory(self, client: str) -> _ClientMemory[KnowledgeT]:
        memory = self._memories.pop(client, None) or _ClientMemory(self._new_knowledge())
        if len(self._memories) < self._max_clients or self._forget():
            self._memories[client] = memory
        return memory

    def _forget(self) -> bool:
        """Forget a client without streams. False if there is none."""
        client = next((name for name, memory in self._memories.items() if not memory.num_streams), None)
        if client is None:
            return False
        del self._memories[client]
        return True


class FailSafeCoLocatedDrafts:
    """Drafts of another object; after its first failure all drafts are empty, and steps continue without."""

    def __init__(self, drafts: CoLocatedDrafts, grammars: Grammars | None = None) -> None:
        """`grammars`: those of constrained streams, if the engine takes any."""
        self._drafts: CoLocatedDrafts | None = ConstrainedCoLocatedDrafts(drafts, grammars) if grammars else drafts
        self._hybrid: HybridCoLocatedDrafts[Any] | None = drafts if isinstance(drafts, HybridCoLocatedDrafts) else None

    @property
    def is_up(self) -> bool:
        """No failure has happened."""
        return self._drafts is not None

    @property
    def num_without_memory(self) -> int:
        """As HybridCoLocatedDrafts.num_without_memory."""
        return self._hybrid.num_without_memory if self._hybrid else 0

    def open(self, stream: StreamKey, spec: StreamSpec) -> None:
        self._try(lambda drafts: drafts.open(stream, spec))

    def draft(self, requests: Sequence[DraftRequest]) -> list[Draft]:
        drafted: list[Draft] = []
        self._try(lambda drafts: drafted.extend(drafts.draft(requests)))
        return drafted or [Draft((), ()) for _ in requests]

    def commit(self, stream: StreamKey, tokens: Sequence[int]) -> None:
        self._try(lambda drafts: drafts.commit(stream, tokens))

    def close(self, stream: StreamKey) -> None:
        self._try(lambda drafts: drafts.close(stream))

    def _try(self, call: Callable[[CoLocatedDrafts], None]) -> None:
        if self._drafts is None:
            return
        try:
            call(self._drafts)
        except Exception:
            log.exception("co-located drafting has failed; the verifier drafts nothing from now on")
            self._drafts = None


def _hybrid(config: CoLocatedConfig, target: TargetConfig, info: TargetInfo) -> CoLocatedDrafts:
    drafting = resolve_table(_draft_config(config, target), info.tokenizer_fingerprint)
    base = initial_memory(drafting, info.num_tokens)
    calibration = base.calibration(drafting.name)
    if not config.model and (compiled := _compiled(config, base.table, calibration)):
        return compiled

    def new_knowledge() -> DraftKnowledge:
        table = NGramTable(config.learned_slots, base.table)
        return DraftKnowledge([LookupSource(), NGramSource(table)], Calibration(calibration))

    neural = neural_source(drafting, info.num_tokens)
    return interpreted_drafts(new_knowledge, config.max_clients, is_shared=config.shared, neural=neural)


def _compiled(config: CoLocatedConfig, table: NGramTable, calibration: Calibration) -> CoLocatedDrafts | None:
    """None: numba is not installed, or does not work here (it refuses releases of NumPy that are newer than itself)."""
    if importlib.util.find_spec("numba") is None:
        log.info("with the extra 'fast' the verifier would draft several times as fast")
        return None
    try:
        import goodspeed.engine.compiled_hybrid as compiled  # noqa: PLC0415  (an optional extra)

        compiled.compile_kernels()  # now, and not in the first step
    except Exception:
        log.warning("the extra 'fast' does not work; the verifier drafts by the interpreter", exc_info=True)
        return None
    base = compiled.table_array(table)
    return HybridCoLocatedDrafts(
        compiled.CompiledHybridDraft(),
        lambda: compiled.CompiledKnowledge(config.learned_slots, base, calibration),
        config.max_clients,
        config.shared,
    )


def _lookup(config: CoLocatedConfig, _target: TargetConfig, _info: TargetInfo) -> CoLocatedDrafts:
    return interpreted_drafts(
        lambda: DraftKnowledge([LookupSource()], Calibration()), config.max_clients, is_shared=config.shared
    )


def interpreted_drafts(
    new_knowledge: Callable[[], DraftKnowledge],
    max_clients: int,
    *,
    is_shared: bool = False,
    neural: BatchedDraftSource | None = None,
) -> HybridCoLocatedDrafts[DraftKnowledge]:
    """Co-located drafts of the interpreter: of any sources, and without numba."""
    return HybridCoLocatedDrafts(HybridDraft(new_knowledge(), neural), new_knowledge, max_clients, is_shared, neural)


def _none(_config: CoLocatedConfig, _target: TargetConfig, _info: TargetInfo) -> None:
    return None


def _draft_config(config: CoLocatedConfig, target: TargetConfig) -> DraftConfig:
    """The same engine as a drafter would configure it, on the target's device."""
    return DraftConfig(
        model=config.model,
        table=config.table,
        table_slots=config.learned_slots,
        device=target.device,
        dtype=target.dtype,
        threads=target.threads or os.cpu_count() or 1,
        kv_memory_mb=config.kv_memory_mb,
        kept_caches=0,  # the streams of several clients: none is faster for another's text
    )


CO_LOCATED_ENGINES: Registry[Callable[[CoLocatedConfig, TargetConfig, TargetInfo], CoLocatedDrafts | None]] = Registry(
    "co-located draft engine", {"hybrid": _hybrid, "lookup": _lookup, "none": _none}
)

"""Draft engines by name. Only the engines that need PyTorch or llama.cpp import it."""

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from goodspeed.config import config_dataclass, option
from goodspeed.config import table as config_table
from goodspeed.engine.calibration import Calibration
from goodspeed.engine.draft_memory import MAX_TRANSFERRED_TRIALS, DraftMemory, check_tokenizer
from goodspeed.engine.draft_source import BatchedDraftSource, DraftSource
from goodspeed.engine.hybrid import DraftKnowledge, HybridDraft
from goodspeed.engine.interface import DraftEngine
from goodspeed.engine.llama_config import LlamaConfig
from goodspeed.engine.lookup import LookupSource
from goodspeed.engine.ngram_table import NGramSource, NGramTable
from goodspeed.engine.null_draft import NullDraft
from goodspeed.engine.shipped_table import shipped_table
from goodspeed.engine.target_config import DEVICES, DTYPES
from goodspeed.engine.torch_import import import_torch_module
from goodspeed.engine.toy_draft import ToyDraft
from goodspeed.engine.toy_model import ToyModel
from goodspeed.registry import Registry

DEFAULT_TABLE = "default"
NO_TABLE = "none"
NO_ENGINE = "none"
"""The draft engine that never proposes."""
RUNTIMES = ("auto", "torch", "llama_cpp")


@config_dataclass
class DraftConfig:
    """The draft engine and its parameters."""

    engine: str = option("hybrid", "draft engine", choices=lambda: DRAFT_ENGINES)
    model: str = option(
        "",
        "torch and llama_cpp: the draft model; hybrid: a model as third source; shaped: the model whose shape is used",
    )
    runtime: str = option(
        "auto",
        "hybrid: what runs the model; auto: llama_cpp for a .gguf file if it is installed, else torch",
        choices=RUNTIMES,
    )
    memory: str = option("", "hybrid and table: file that keeps what the engine learns; read at the start if it exists")
    table: str = option(
        DEFAULT_TABLE,
        "hybrid and table: n-gram table to start from: a file, none, or default: the one shipped for the tokenizer",
    )
    table_slots: int = option(
        2**19, "hybrid and table: contexts that a new n-gram table holds, 17 bytes each", ge=8, le=2**26
    )
    acceptance_rate: float = option(
        0.8, "toy and shaped: share of draft tokens that the target accepts", ge=0.0, le=1.0
    )
    seed: int = option(0, "toy and shaped: seed of the pair; the verifier needs the same", ge=0, le=2**63 - 1)
    device: str = option("auto", "draft model: device; auto: a GPU if there is one", choices=DEVICES)
    dtype: str = option(
        "auto", "torch and shaped: number format; auto: bf16 where the hardware multiplies it", choices=DTYPES
    )
    threads: int = option(1, "draft model: CPU threads", ge=1, le=1024)
    kv_memory_mb: int = option(256, "draft model: KV cache of all streams, in MB (2**20 bytes)", ge=1, le=2**20)
    kept_caches: int = option(
        8,
        "draft model: KV caches of ended answers that are kept, so that the next turn of a conversation is not read "
        "again; as far as memory is left, and not by llama.cpp",
        ge=0,
    )
    llama: LlamaConfig = config_table(LlamaConfig)

    @property
    def name(self) -> str:
        """The engine and the model, if any: shown to users, and the key of a calibration."""
        return f"{self.engine} {self.model}".strip()


def draft_engine(config: DraftConfig, vocab_size: int, tokenizer: str = "") -> DraftEngine:
    """The draft engine for a target whose tokenizer has `vocab_size` tokens and this fingerprint.

    Target and draft may pad their vocabularies differently. Without a fingerprint no shipped n-gram table is used.
    Raises ConfigError or CheckpointError.
    """
    return DRAFT_ENGINES[config.engine](resolve_table(config, tokenizer), vocab_size)


def resolve_table(config: DraftConfig, tokenizer: str) -> DraftConfig:
    """The config with the file of the shipped table, if it has the default one. Raises CheckpointError.

    Raises it too if a file of the config is for another tokenizer.
    """
    if config.table == DEFAULT_TABLE:
        config = replace(config, table=str(shipped_table(tokenizer) or NO_TABLE))
    for name in (config.memory, config.table):
        if Path(name).is_file():
            check_tokenizer(Path(name), tokenizer)
    return config


def initial_memory(config: DraftConfig, vocab_size: int) -> DraftMemory:
    """The saved memory, or else the initial table, or else an empty table. Raises CheckpointError."""
    if config.memory and Path(config.memory).exists():
        return DraftMemory.load(Path(config.memory), vocab_size)
    if config.table not in {NO_TABLE, DEFAULT_TABLE}:
        return DraftMemory.load(Path(config.table), vocab_size)
    return DraftMemory(NGramTable(config.table_slots), vocab_size)


def neural_source(config: DraftConfig, vocab_size: int) -> BatchedDraftSource | None:
    """The draft model of the config as a source, if it has one. Raises ConfigError or CheckpointError."""
    if not config.model:
        return None
    source: BatchedDraftSource
    if _runtime(config) == "llama_cpp":
        source = _llama_module().llama_source(config, vocab_size)
    else:
        source = import_torch_module("goodspeed.engine.torch.draft").torch_source(config, vocab_size)
    return source


def _runtime(config: DraftConfig) -> str:
    if config.runtime != "auto":
        return config.runtime
    is_gguf = config.model.endswith(".gguf")
    return "llama_cpp" if is_gguf and importlib.util.find_spec("llama_cpp") is not None else "torch"


def save_memory(engine: DraftEngine, config: DraftConfig, vocab_size: int, tokenizer: str = "") -> None:
    """Save what the engine has learned to config.memory, if it is set. Raises CheckpointError."""
    if config.memory and isinstance(engine, HybridDraft) and (table := table_of(engine)):
        path = Path(config.memory)
        known = DraftMemory.load(path, vocab_size).calibrations if path.exists() else {}
        calibrations = {**known, config.name: engine.calibration}
        DraftMemory(table, vocab_size, tokenizer, calibrations).save(path)


def transfer_learned_state(learned: DraftEngine, fresh: DraftEngine) -> None:
    """Start a hybrid engine without streams from what another hybrid engine has learned; other engines are ignored.

    Both share the n-gram table from then on. The calibration is a faded copy, because the draft model may differ.
    """
    if not isinstance(learned, HybridDraft) or not isinstance(fresh, HybridDraft):
        return
    table = table_of(learned)
    for source in fresh.sources:
        if table and isinstance(source, NGramSource):
            source.table = table
    if [type(source) for source in learned.sources] == [type(source) for source in fresh.sources]:
        calibration = learned.calibration.faded(MAX_TRANSFERRED_TRIALS)
        fresh.knowledge = DraftKnowledge(fresh.knowledge.sources, calibration)


def table_of(engine: DraftEngine) -> NGramTable | None:
    """The n-gram table of the engine, if it has one."""
    sources = engine.sources if isinstance(engine, HybridDraft) else ()
    return next((source.table for source in sources if isinstance(source, NGramSource)), None)


def _hybrid(config: DraftConfig, vocab_size: int) -> DraftEngine:
    memory = initial_memory(config, vocab_size)
    sources: list[DraftSource] = [LookupSource(), NGramSource(memory.table)]
    knowledge = DraftKnowledge(sources, memory.calibration(config.name))
    return HybridDraft(knowledge, neural_source(config, vocab_size))


def _lookup(_config: DraftConfig, _vocab_size: int) -> DraftEngine:
    return HybridDraft(DraftKnowledge([LookupSource()], Calibration()))


def _table(config: DraftConfig, vocab_size: int) -> DraftEngine:
    memory = initial_memory(config, vocab_size)
    return HybridDraft(DraftKnowledge([NGramSource(memory.table)], memory.calibration(config.name)))


def _torch(config: DraftConfig, vocab_size: int) -> DraftEngine:
    engine: DraftEngine = import_torch_module("goodspeed.engine.torch.draft").torch_draft(config, vocab_size)
    return engine


def _llama_cpp(config: DraftConfig, vocab_size: int) -> DraftEngine:
    engine: DraftEngine = _llama_module().llama_draft(config, vocab_size)
    return engine


def _llama_module() -> Any:
    """Imported when it is used: it needs this module's DraftConfig."""
    return importlib.import_module("goodspeed.engine.llama_cpp.draft")


def _shaped(config: DraftConfig, vocab_size: int) -> DraftEngine:
    engine: DraftEngine = import_torch_module("goodspeed.engine.torch.shaped_pair").shaped_draft(config, vocab_size)
    return engine


def _toy(config: DraftConfig, vocab_size: int) -> DraftEngine:
    return ToyDraft(config.acceptance_rate, ToyModel(vocab_size, config.seed), config.seed)


def _none(_config: DraftConfig, _vocab_size: int) -> DraftEngine:
    return NullDraft()


DRAFT_ENGINES: Registry[Callable[[DraftConfig, int], DraftEngine]] = Registry(
    "draft engine",
    {
        "hybrid": _hybrid,
        "lookup": _lookup,
        "table": _table,
        "torch": _torch,
        "llama_cpp": _llama_cpp,
        "shaped": _shaped,
        "toy": _toy,
        NO_ENGINE: _none,
    },
    group="goodspeed.draft_engine",
)

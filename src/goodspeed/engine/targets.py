"""Target engines by name. Only the engines that need PyTorch or llama.cpp import it."""

import importlib
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

from goodspeed.engine.auto_target import AUTO, choose_engine
from goodspeed.engine.grammar.compiler import GrammarCompiler
from goodspeed.engine.interface import TargetEngine
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.torch_import import import_torch_module
from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.engine.toy_tokenizer import toy_tokenizer
from goodspeed.engine.vllm.loading import load_vllm
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.registry import Registry

log = logging.getLogger(__name__)


def target_engine(name: str, config: TargetConfig, seed: int = 0) -> TargetEngine:
    """The target engine of that name with its model loaded; `seed`: of a shaped or toy pair.

    Raises ConfigError or CheckpointError.
    """
    return TARGET_ENGINES[name](config, seed)


def _auto(config: TargetConfig, seed: int) -> TargetEngine:
    name, reason = choose_engine(config)
    log.info("target engine %s: %s", name, reason)
    return TARGET_ENGINES[name](config, seed)


def _torch(config: TargetConfig, _seed: int) -> TargetEngine:
    engine: TargetEngine = import_torch_module("goodspeed.engine.torch.loading").load_target(config)
    return engine


def _llama_cpp(config: TargetConfig, _seed: int) -> TargetEngine:
    engine: TargetEngine = importlib.import_module("goodspeed.engine.llama_cpp.loading").load_target(config)
    return engine


def _vllm(config: TargetConfig, _seed: int) -> TargetEngine:
    return load_vllm(config)


def _shaped(config: TargetConfig, seed: int) -> TargetEngine:
    engine: TargetEngine = import_torch_module("goodspeed.engine.torch.shaped_pair").shaped_target(config, seed)
    return engine


def _toy(_config: TargetConfig, seed: int) -> TargetEngine:
    with tempfile.TemporaryDirectory() as folder:
        toy_tokenizer(Path(folder))
        tokenizer = Tokenizer.load(Path(folder))
    info = toy_info(tokenizer.fingerprint)
    return ToyTarget(info, seed, GrammarCompiler(tokenizer.to_json(), info.vocab_size, info.end_tokens))


TARGET_ENGINES: Registry[Callable[[TargetConfig, int], TargetEngine]] = Registry(
    "target engine",
    {AUTO: _auto, "torch": _torch, "llama_cpp": _llama_cpp, "vllm": _vllm, "shaped": _shaped, "toy": _toy},
    group="goodspeed.target_engine",
)

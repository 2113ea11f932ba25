"""The configuration of the embedded target engine; imports no torch, so that every command can show its flags."""

from typing import Any

from goodspeed.config import config_dataclass, free_table, option, table
from goodspeed.engine.llama_config import LlamaConfig

DEVICES = ("auto", "cpu", "cuda")
DTYPES = ("auto", "bf16", "fp32")


@config_dataclass
class TargetConfig:
    """The embedded target engine."""

    model: str = option("smollm2-135m-instruct", "catalog name, Hugging Face id, model folder or .gguf file")
    dtype: str = option("auto", "number format; auto: bf16 where the hardware multiplies it", choices=DTYPES)
    device: str = option("auto", "device; auto: cuda if there is one", choices=DEVICES)
    threads: int = option(
        0, "CPU threads of the forward pass; 0: one per core, and fewer while that is faster", ge=0, le=1024
    )
    kv_memory_mb: int = option(1024, "KV cache of all streams, in MB (2**20 bytes)", ge=1)
    max_context: int = option(0, "longest stream, prompt and answer, in tokens; 0: the model's own limit", ge=0)
    vllm: dict[str, Any] = free_table(
        "engine vllm: options of vLLM's EngineArgs, such as tensor_parallel_size=2 (docs/guide/vllm.md)"
    )
    llama: LlamaConfig = table(LlamaConfig)

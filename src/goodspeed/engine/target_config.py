"""The configuration of the embedded target engine. It imports no torch, so that every command can show its flags."""

from dataclasses import dataclass

from goodspeed.config import option
from goodspeed.errors import ConfigError

DEVICES = ("auto", "cpu", "cuda")
DTYPES = ("auto", "bf16", "fp32")


@dataclass(frozen=True, slots=True)
class TargetConfig:
    """The embedded target engine."""

    model: str = option("smollm2-135m-instruct", "catalog name, Hugging Face id, model folder or .gguf file")
    dtype: str = option("auto", "bf16, fp32, or auto: bf16 where the hardware multiplies it")
    device: str = option("auto", "cpu, cuda, or auto: cuda where there is one")
    threads: int = option(0, "CPU threads of the forward pass; 0: one per core")
    kv_memory_mb: int = option(1024, "memory for keys and values of all streams, MB (2**20 bytes)")
    max_context: int = option(0, "longest stream, prompt and answer, in tokens; 0: what the model was made for")

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise ConfigError(f"device is {self.device!r}, expected one of {', '.join(DEVICES)}")
        if self.dtype not in DTYPES:
            raise ConfigError(f"dtype is {self.dtype!r}, expected one of {', '.join(DTYPES)}")
        if self.threads < 0 or self.max_context < 0 or self.kv_memory_mb < 1:
            raise ConfigError("threads and max_context must be 0 or more, kv_memory_mb 1 or more")

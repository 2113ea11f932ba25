"""The options of llama.cpp, with its own names; imports no library, so that every command can show its flags."""

from goodspeed.config import config_dataclass, option

FLASH_ATTENTION = ("auto", "on", "off")
CACHE_TYPES = ("f16", "f32", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")


@config_dataclass
class LlamaConfig:
    """Options of llama.cpp, with its own names."""

    n_gpu_layers: int = option(
        -1, "layers whose weights are on the GPU; -1: all, if llama.cpp was built for a GPU", ge=-1
    )
    threads_batch: int = option(
        0, "CPU threads of a batch of several tokens; 0: as threads, with which one token is computed", ge=0, le=1024
    )
    flash_attn: str = option(
        "auto",
        "flash attention; without it the bits of a text depend on what shares the batch",
        choices=FLASH_ATTENTION,
    )
    cache_type_k: str = option("f16", "type of the keys in the KV cache", choices=CACHE_TYPES)
    cache_type_v: str = option("f16", "type of the values in the KV cache", choices=CACHE_TYPES)
    n_ubatch: int = option(
        0, "tokens of one forward pass; 0: 63 on a CPU, where from 64 on attention rounds otherwise, 512 on a GPU", ge=0
    )

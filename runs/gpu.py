"""The engines on a GPU, one after another: exactness, step times beside the memory floor, goodput beside target-only.

Every stage is a command of its own with a time limit, and its output is shown as it comes; all of them take at most ten
minutes together. A stage that lacks something or runs out of time is reported, and the next one starts. Exit code 1 if
a stage has failed. `--device cpu` runs the same stages with the default target, to check the script itself. Not run on
a GPU so far.

    python -m runs.gpu
    python -m runs.gpu --vllm-python ~/vllm/bin/python
    python -m runs.gpu --device cpu
"""

import argparse
import importlib.util
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table

from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.torch.shaped_pair import SHAPES

LARGE = "llama-3.1-8b"
BYTES_PER_WEIGHT = 2  # bf16
COPIED_BYTES, NUM_COPIES = 2**30, 20


@dataclass(frozen=True)
class Stage:
    """A command, and how long it may take."""

    name: str
    arguments: Sequence[str]
    """Of the interpreter."""
    limit_s: float
    python: str = sys.executable
    missing: str = ""
    """What it lacks here; empty: nothing."""


def main() -> None:
    args = _arguments()
    console = Console()
    if args.device == "cuda":
        console.print(memory_floor())
    results = [(stage, *run(stage, console)) for stage in stages(args.device, args.vllm_python)]
    table = Table("stage", "result", "seconds")
    for stage, result, seconds in results:
        table.add_row(stage.name, result, f"{seconds:.0f}")
    console.print(table)
    raise SystemExit(any(result.startswith("failed") for _, result, _ in results))


def stages(device: str, vllm_python: str | None) -> list[Stage]:
    """All stages, also those that lack something."""
    model = LARGE if device == "cuda" else TargetConfig().model
    goodspeed = ("-m", "goodspeed")
    steps = ("-m", "runs.engine_step", "--device", device, "--turns", "3", "--steps", "8")
    texts = ("--n", "8", "--max-tokens", "32", "--windows", "0", "4", "--temperatures", "0", "1")
    llama = "" if importlib.util.find_spec("llama_cpp") else "the extra llama"
    bench = ("--clients", "8", "--repetitions", "2", "--requests", "1", "--warm-up", "1", "--max-tokens", "48")
    pair = "shaped_large" if device == "cuda" else "shaped"
    return [
        Stage("tests of the torch engine", ("-m", "pytest", "-q", "tests/engine/torch"), 120.0),
        Stage("equal texts", (*goodspeed, "verify-lossless", "--target.device", device, *texts), 90.0),
        Stage(f"steps of torch, {model}", (*steps, "--engines", "goodspeed", "--model", model), 90.0),
        Stage(
            "steps of llama.cpp, default target", (*steps, "--engines", "llama_Q8_0", "llama_F16"), 90.0, missing=llama
        ),
        Stage("goodput of a shaped pair", (*goodspeed, "bench", "--pair", pair, *bench), 120.0),
        Stage(
            "vLLM beside its own speculation",
            ("-m", "runs.vllm_engine"),
            90.0,
            vllm_python or sys.executable,
            "" if vllm_python else "--vllm-python",
        ),
    ]


def run(stage: Stage, console: Console) -> tuple[str, float]:
    """(result, seconds)."""
    if stage.missing:
        return f"left out: needs {stage.missing}", 0.0
    console.rule(stage.name)
    start = time.monotonic()
    try:
        code = subprocess.run([stage.python, *stage.arguments], timeout=stage.limit_s, check=False).returncode
    except subprocess.TimeoutExpired:
        return f"failed: more than {stage.limit_s:.0f} s", time.monotonic() - start
    return ("done" if code == 0 else f"failed: exit code {code}"), time.monotonic() - start


def memory_floor() -> str:
    """The least time of a step of the large shape: all weights are read once at the speed of a copy."""
    source = torch.empty(COPIED_BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    target.copy_(source)
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(NUM_COPIES):
        target.copy_(source)
    end.record()
    torch.cuda.synchronize()
    bytes_per_s = 2 * COPIED_BYTES * NUM_COPIES / (start.elapsed_time(end) / 1e3)
    floor_s = num_weights() * BYTES_PER_WEIGHT / bytes_per_s
    name = torch.cuda.get_device_name()
    return f"{name}: {bytes_per_s / 1e12:.2f} TB/s; a step of {LARGE} takes at least {1e3 * floor_s:.2f} ms"


def num_weights() -> int:
    """Weights of the large shape that a step reads: those of the layers and of the head."""
    shape = SHAPES[LARGE]
    attention = shape.hidden_size * shape.head_dim * 2 * (shape.num_heads + shape.num_kv_heads)
    return shape.num_layers * (attention + 3 * shape.hidden_size * shape.intermediate_size) + (
        shape.vocab_size * shape.hidden_size
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--vllm-python", help="a Python interpreter that has vLLM installed")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("PyTorch finds no CUDA device; --device cpu checks the script without one")
    return args


if __name__ == "__main__":
    main()

"""Step time of the torch and llama.cpp engines, of Hugging Face transformers and of vLLM's CPU build.

A case is streams x new tokens per stream; 8 new tokens are a verification of 7 rejected draft tokens. Each engine runs
in its own process. They take turns case by case, and the others wait. A cell is the median over all steps, with the
10th and 90th percentiles. Ten minutes on two cores; needs the target model, transformers, and vLLM if --vllm-python is
given. Shapes such as llama-3.1-8b have random weights and need a GPU. `llama_Q4_0` and so on: the default target with
weights of this type by llama.cpp (extra llama); `goodspeed_fp32`: torch in fp32.

    python -m runs.engine_step --vllm-python ~/vllm/bin/python
    python -m runs.engine_step --engines goodspeed goodspeed_fp32 llama_Q4_1 llama_Q4_0 llama_Q8_0 llama_F16
    python -m runs.engine_step --engines goodspeed --model llama-3.1-8b --device cuda
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from runs.synthetic.quantised_models import quantised

from goodspeed.models.catalog import locate
from goodspeed.stats.summary import quantile

LLAMA = "llama_"
LLAMA_TYPES = ("Q4_1", "Q4_0", "Q8_0", "F16")
WORKERS = Path(__file__).parent / "step_engines"
ENGINES = ("goodspeed", "goodspeed_fp32", "hf", "vllm", *(LLAMA + kind for kind in LLAMA_TYPES))
CASES = ((1, 1), (1, 8), (4, 1), (4, 8), (8, 1), (8, 8))
VLLM_SETTINGS = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "HF_HUB_OFFLINE": "1",
}
WARM_UP = 3  # steps of every turn that are not counted


@dataclass
class EngineProcess:
    """A process with one engine, for drafts of one length."""

    name: str
    num_draft: int
    command: list[str]
    settings: dict[str, str]
    steps_s: dict[int, list[float]] = field(default_factory=dict)

    def start(self) -> None:
        """Start the process and wait until its model is loaded."""
        self._process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.settings},
        )
        if self._answer() != "ready":
            raise SystemExit(f"{self.name} did not start: {' '.join(self.command)}")

    def measure(self, streams: int, context: int, steps: int) -> None:
        """Time some steps of one case."""
        assert self._process.stdin
        case = {"streams": streams, "tokens": self.num_draft + 1, "context": context, "steps": WARM_UP + steps}
        print(json.dumps(case), file=self._process.stdin, flush=True)
        self.steps_s.setdefault(streams, []).extend(json.loads(self._answer())[WARM_UP:])

    def stop(self) -> None:
        self._process.communicate()

    def _answer(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()


def main() -> None:
    args = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        _measure([_engine(name, tokens - 1, args, Path(folder)) for name in args.engines for tokens in (1, 8)], args)


def _measure(engines: list[EngineProcess], args: argparse.Namespace) -> None:
    for engine in engines:
        engine.start()
    for turn in range(args.turns):
        print(f"turn {turn + 1} of {args.turns}", file=sys.stderr)
        for streams, tokens in CASES:
            for engine in engines:
                if engine.num_draft == tokens - 1:
                    engine.measure(streams, args.context, args.steps)
    for engine in engines:
        engine.stop()
    _show(engines, args.engines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", nargs="+", choices=ENGINES)
    parser.add_argument("--vllm-python", help="a Python interpreter that has vllm-cpu installed")
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--context", type=int, default=200)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12)
    args = parser.parse_args()
    args.engines = args.engines or ["goodspeed", "hf", *(["vllm"] if args.vllm_python else [])]
    if "vllm" in args.engines and not args.vllm_python:
        parser.error("vllm needs --vllm-python")
    return args


def _engine(name: str, num_draft: int, args: argparse.Namespace, folder: Path) -> EngineProcess:
    numbers = [str(args.threads), str(num_draft), args.device]
    settings = {"OMP_NUM_THREADS": str(args.threads), "GOMP_SPINCOUNT": "5000"}  # as the CLI sets it
    match name:
        case "goodspeed":
            command = [sys.executable, str(WORKERS / "goodspeed_torch.py"), args.model, *numbers]
        case "goodspeed_fp32":
            command = [sys.executable, str(WORKERS / "goodspeed_torch.py"), args.model, *numbers, "fp32"]
        case _ if name.startswith(LLAMA):
            path = quantised(name.removeprefix(LLAMA), folder)
            command = [sys.executable, str(WORKERS / "goodspeed_llama.py"), str(path), *numbers]
        case "hf":
            command = [sys.executable, str(WORKERS / "hf.py"), str(locate(args.model)), *numbers]
        case _:
            settings |= VLLM_SETTINGS
            command = [args.vllm_python, str(WORKERS / "vllm_cpu.py"), str(locate(args.model)), *numbers]
    return EngineProcess(name, num_draft, command, settings)


def _show(engines: list[EngineProcess], names: list[str]) -> None:
    print("| engine | " + " | ".join(f"{streams}x{tokens}" for streams, tokens in CASES) + " |")
    print("|---|" + "---|" * len(CASES))
    for name in names:
        steps_by_tokens = {engine.num_draft + 1: engine.steps_s for engine in engines if engine.name == name}
        print(
            f"| {name}, ms | " + " | ".join(_cell(steps_by_tokens[tokens][streams]) for streams, tokens in CASES) + " |"
        )


def _cell(steps_s: list[float]) -> str:
    low, median, high = (1e3 * quantile(steps_s, share) for share in (0.1, 0.5, 0.9))
    return f"{median:.1f} ({low:.1f}-{high:.1f})"


if __name__ == "__main__":
    main()

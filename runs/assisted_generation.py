"""Do the drafts speed up transformers' own assisted generation of the same target?

Greedy answers to the project's own prompts (four domains), by transformers alone and with each draft as its
`assistant_model`, one after the other for every prompt, in an order that turns; all of it several times. Nothing is set
but `assistant_model` and the length: precision and the draft's window are those of the checkpoints, unless --dtype and
--settings name others. Prints tokens per second, the speed-up with its 95% interval over repetitions and over prompts,
the share of texts that are equal to the target's alone, and writes JSON.

    python -m runs.assisted_generation --out assisted.json
    python -m runs.assisted_generation --settings 1:0 2:0.4 4:0.4 8:0.5 --repetitions 1
    python -m runs.assisted_generation --parts

On one quiet core 12 prompts of 64 tokens, two drafts and five repetitions take about eight minutes. `--parts` tells
what a pass of each model costs, and a call of `generate` besides, in one.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
import transformers

from goodspeed.cluster.machine import this_machine
from goodspeed.models.catalog import locate
from goodspeed.prompts.prompts import DOMAINS, load_prompts
from goodspeed.stats.intervals import ConfidenceInterval, paired_ratio

ALONE = "alone"
CONTEXT = 128  # tokens before a pass that is timed
NUM_TIMED = 20


@dataclass(frozen=True, slots=True)
class Setting:
    """How long a round's draft may be, and the probability of a draft token below which it ends."""

    window: int
    confidence: float

    @classmethod
    def read(cls, text: str) -> "Setting":
        window, _, confidence = text.partition(":")
        return cls(int(window), float(confidence or 0))


@dataclass(frozen=True, slots=True)
class Way:
    """Of answering: alone, or with a draft, as its checkpoint says or as the setting does."""

    draft: Any = None
    setting: Setting | None = None

    def arguments(self) -> dict[str, Any]:
        if self.draft is None:
            return {}
        if self.setting:
            config = self.draft.generation_config
            config.num_assistant_tokens = self.setting.window
            config.num_assistant_tokens_schedule = "constant"
            config.assistant_confidence_threshold = self.setting.confidence
        return {"assistant_model": self.draft}


@dataclass(frozen=True, slots=True)
class Answer:
    """One prompt, answered one way."""

    tokens: tuple[int, ...]
    elapsed_s: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="smollm2-135m-instruct")
    parser.add_argument("--drafts", nargs="+", default=["smollm2-draft-12m", "smollm2-draft-21m"])
    parser.add_argument("--settings", nargs="+", type=Setting.read, default=[None], help="window:confidence")
    parser.add_argument("--prompts", type=int, default=3, help="of each domain")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--dtype", default="auto", help="auto: as stored, which is bfloat16; bfloat16, float32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--parts", action="store_true", help="time the parts of a round instead")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    target, drafts = _model(args.target, args), {name: _model(name, args) for name in args.drafts}
    with torch.inference_mode():
        report = _parts({args.target: target, **drafts}) if args.parts else _speedups(target, drafts, args)
    for name, values in report.items():
        print(name, json.dumps(values), flush=True)
    if args.out:
        whole = {"command": sys.argv, "machine": msgspec.to_builtins(this_machine()), "ways": report}
        args.out.write_text(json.dumps(whole, indent=1) + "\n")
    return 0


def _model(name: str, args: argparse.Namespace) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(locate(name), dtype=args.dtype)


def _speedups(target: Any, drafts: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    ways = {ALONE: Way()}
    for name, draft in drafts.items():
        for setting in args.settings:
            label = f"{name} {setting.window}:{setting.confidence:g}" if setting else name
            ways[label] = Way(draft, setting)
    prompts = _prompts(args)
    for way in ways.values():  # what is done for the first time only is not timed
        _answer(target, way, prompts[0], 8)
    repetitions = [_answers(target, ways, prompts, args.tokens) for _ in range(args.repetitions)]
    return {name: _summary([(one[ALONE], one[name]) for one in repetitions]) for name in ways}


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


def _answers(target: Any, ways: dict[str, Way], prompts: Sequence[Any], max_tokens: int) -> dict[str, list[Answer]]:
    """Every prompt in every way, the first way another for each prompt."""
    names = list(ways)
    answers: dict[str, list[Answer]] = {name: [] for name in names}
    for i, prompt in enumerate(prompts):
        for turn in range(len(names)):
            name = names[(i + turn) % len(names)]
            answers[name].append(_answer(target, ways[name], prompt, max_tokens))
    return answers


def _answer(target: Any, way: Way, prompt: Any, max_tokens: int) -> Answer:
    arguments = way.arguments()
    began = time.perf_counter()
    found = target.generate(**prompt, **arguments, do_sample=False, max_new_tokens=max_tokens)
    elapsed_s = time.perf_counter() - began
    return Answer(tuple(found[0, prompt["input_ids"].shape[1] :].tolist()), elapsed_s)


def _summary(repetitions: Sequence[tuple[Sequence[Answer], Sequence[Answer]]]) -> dict[str, Any]:
    """Of (alone, found) of every repetition. The mean is geometric; of a prompt, all its repetitions are one."""
    alone, found = zip(*repetitions, strict=True)
    pairs = [(base.tokens, one.tokens) for bases, ones in repetitions for base, one in zip(bases, ones, strict=True)]
    by_repetition = paired_ratio([_rate(one) for one in found], [_rate(one) for one in alone])
    by_prompt = paired_ratio(*([_rate(one) for one in zip(*way, strict=True)] for way in (found, alone)))
    return {
        "tokens_per_s": _rate([answer for one in found for answer in one]),
        "speedup": by_repetition.mean,
        "over_repetitions": _ends(by_repetition),
        "over_prompts": [by_prompt.mean, *_ends(by_prompt)],
        "equal_texts": sum(base == one for base, one in pairs) / len(pairs),
    }


def _rate(answers: Sequence[Answer]) -> float:
    return sum(len(one.tokens) for one in answers) / sum(one.elapsed_s for one in answers)


def _ends(interval: ConfidenceInterval) -> list[float]:
    return [interval.low, interval.high]


def _parts(models: dict[str, Any]) -> dict[str, Any]:
    """Milliseconds, medians: a pass over some tokens, its head alone, and what a call of `generate` adds to passes."""
    return {
        name: {
            "pass_ms": {num: _pass_ms(model, num) for num in (1, 2, 3, 5, 9)},
            "head_ms": _head_ms(model),
            "call_ms": _call_ms(model),
        }
        for name, model in models.items()
    }


def _pass_ms(model: Any, num_tokens: int) -> float:
    cache: Any = transformers.DynamicCache(config=model.config)
    model(_tokens(CONTEXT), past_key_values=cache)
    tokens = _tokens(num_tokens)
    cache.activate_past_recording()

    def run() -> None:
        model(tokens, past_key_values=cache)
        cache.crop(-num_tokens)

    return _median_ms(run)


def _head_ms(model: Any) -> float:
    hidden = torch.randn(1, 1, model.config.hidden_size, dtype=model.dtype)
    return _median_ms(lambda: model.lm_head(hidden))


def _call_ms(model: Any) -> float:
    """What `generate` takes for one token after the context, less the pass."""
    tokens = _tokens(CONTEXT)
    asked = {"attention_mask": torch.ones_like(tokens), "do_sample": False, "max_new_tokens": 1}
    return _median_ms(lambda: model.generate(tokens, **asked)) - _median_ms(lambda: model(tokens, logits_to_keep=1))


def _tokens(num: int) -> torch.Tensor:
    return torch.randint(100, 10_000, (1, num), generator=torch.Generator().manual_seed(num))


def _median_ms(run: Callable[[], object]) -> float:
    times = []
    for _ in range(NUM_TIMED):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return 1e3 * statistics.median(times)


if __name__ == "__main__":
    sys.exit(main())

"""Speed-up of transformers' assisted generation by the shipped draft models.

transformers answers the built-in prompts greedily, without a draft and with each draft as its `assistant_model`. All
modes answer a prompt one after the other, in rotating order. Precision and draft length are those of the checkpoints,
unless --dtype and --settings set others. The run prints tokens per second, the speed-up with its 95% interval over
repetitions and over prompts, and the share of texts equal to the baseline's, and writes JSON.

    python -m runs.assisted_generation --out assisted.json
    python -m runs.assisted_generation --settings 1:0 2:0.4 4:0.4 8:0.5 --repetitions 1
    python -m runs.assisted_generation --parts

Eight minutes on one quiet core for 12 prompts of 64 tokens, two drafts and five repetitions. Needs transformers.
`--parts` times a forward pass of each model and the overhead of a call of `generate`, in a minute.
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

BASELINE = "target-only"
CONTEXT = 128  # tokens before a timed pass
NUM_TIMED = 20


@dataclass(frozen=True, slots=True)
class Setting:
    """Longest draft of a round, and the probability of a draft token below which the draft ends."""

    window: int
    confidence: float

    @classmethod
    def read(cls, text: str) -> "Setting":
        window, _, confidence = text.partition(":")
        return cls(int(window), float(confidence or 0))


@dataclass(frozen=True, slots=True)
class GenerationMode:
    """Generation without a draft, or with one, under its checkpoint's settings or other ones."""

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
class TimedAnswer:
    """One answer of one mode."""

    tokens: tuple[int, ...]
    elapsed_s: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="smollm2-135m-instruct")
    parser.add_argument("--drafts", nargs="+", default=["smollm2-draft-12m", "smollm2-draft-21m"])
    parser.add_argument("--settings", nargs="+", type=Setting.read, default=[None], help="window:confidence")
    parser.add_argument("--prompts", type=int, default=3, help="prompts of each domain")
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
        document = {"command": sys.argv, "machine": msgspec.to_builtins(this_machine()), "modes": report}
        args.out.write_text(json.dumps(document, indent=1) + "\n")
    return 0


def _model(name: str, args: argparse.Namespace) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(locate(name), dtype=args.dtype)


def _speedups(target: Any, drafts: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    modes = {BASELINE: GenerationMode()}
    for name, draft in drafts.items():
        for setting in args.settings:
            label = f"{name} {setting.window}:{setting.confidence:g}" if setting else name
            modes[label] = GenerationMode(draft, setting)
    prompts = _prompts(args)
    for mode in modes.values():  # warm-up
        _answer(target, mode, prompts[0], 8)
    repetitions = [_answers(target, modes, prompts, args.tokens) for _ in range(args.repetitions)]
    return {name: _summary([(answers[BASELINE], answers[name]) for answers in repetitions]) for name in modes}


def _prompts(args: argparse.Namespace) -> list[Any]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(locate(args.target))
    return [
        tokenizer.apply_chat_template(
            [{"role": message.role, "content": message.content} for message in prompt.messages],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        for domain in DOMAINS
        for prompt in load_prompts(domain)[: args.prompts]
    ]


def _answers(
    target: Any, modes: dict[str, GenerationMode], prompts: Sequence[Any], max_tokens: int
) -> dict[str, list[TimedAnswer]]:
    """Every prompt in every mode; the first mode rotates from prompt to prompt."""
    names = list(modes)
    answers: dict[str, list[TimedAnswer]] = {name: [] for name in names}
    for i, prompt in enumerate(prompts):
        for turn in range(len(names)):
            name = names[(i + turn) % len(names)]
            answers[name].append(_answer(target, modes[name], prompt, max_tokens))
    return answers


def _answer(target: Any, mode: GenerationMode, prompt: Any, max_tokens: int) -> TimedAnswer:
    arguments = mode.arguments()
    start_s = time.perf_counter()
    output = target.generate(**prompt, **arguments, do_sample=False, max_new_tokens=max_tokens)
    elapsed_s = time.perf_counter() - start_s
    return TimedAnswer(tuple(output[0, prompt["input_ids"].shape[1] :].tolist()), elapsed_s)


def _summary(repetitions: Sequence[tuple[Sequence[TimedAnswer], Sequence[TimedAnswer]]]) -> dict[str, Any]:
    """Summary of (baseline, assisted) answers of every repetition.

    Means are geometric. The interval over prompts takes all repetitions of a prompt together.
    """
    baseline, assisted = zip(*repetitions, strict=True)
    pairs = [
        (before.tokens, after.tokens)
        for without, with_draft in repetitions
        for before, after in zip(without, with_draft, strict=True)
    ]
    by_repetition = paired_ratio([_rate(answers) for answers in assisted], [_rate(answers) for answers in baseline])
    by_prompt = paired_ratio(
        *([_rate(answers) for answers in zip(*mode, strict=True)] for mode in (assisted, baseline))
    )
    return {
        "tokens_per_s": _rate([answer for answers in assisted for answer in answers]),
        "speedup": by_repetition.mean,
        "over_repetitions": _ends(by_repetition),
        "over_prompts": [by_prompt.mean, *_ends(by_prompt)],
        "equal_texts": sum(before == after for before, after in pairs) / len(pairs),
    }


def _rate(answers: Sequence[TimedAnswer]) -> float:
    return sum(len(answer.tokens) for answer in answers) / sum(answer.elapsed_s for answer in answers)


def _ends(interval: ConfidenceInterval) -> list[float]:
    return [interval.low, interval.high]


def _parts(models: dict[str, Any]) -> dict[str, Any]:
    """Median milliseconds of a pass over some tokens, of the head, and of the overhead of a call of `generate`."""
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
    """Time of `generate` for one token after the context, minus the time of the pass."""
    tokens = _tokens(CONTEXT)
    arguments = {"attention_mask": torch.ones_like(tokens), "do_sample": False, "max_new_tokens": 1}
    return _median_ms(lambda: model.generate(tokens, **arguments)) - _median_ms(lambda: model(tokens, logits_to_keep=1))


def _tokens(num: int) -> torch.Tensor:
    return torch.randint(100, 10_000, (1, num), generator=torch.Generator().manual_seed(num))


def _median_ms(run: Callable[[], object]) -> float:
    times = []
    for _ in range(NUM_TIMED):
        start_s = time.perf_counter()
        run()
        times.append(time.perf_counter() - start_s)
    return 1e3 * statistics.median(times)


if __name__ == "__main__":
    sys.exit(main())

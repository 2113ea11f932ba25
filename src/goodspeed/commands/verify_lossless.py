"""`goodspeed verify-lossless`: check that a pair of engines keeps the target's text."""

import argparse
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from goodspeed.commands.flags import add_flags, from_args
from goodspeed.config import config_dataclass, option, table
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.drafter.assembly import load_tokenizer
from goodspeed.drafter.drafter_config import TOY
from goodspeed.engine.drafts import DraftConfig, draft_engine
from goodspeed.engine.interface import TargetEngine
from goodspeed.engine.reference import ReferenceRequest
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.targets import TARGET_ENGINES, target_engine
from goodspeed.errors import ConfigError
from goodspeed.lossless.checks import DistributionCheck, TextCheck, check_distribution, check_texts
from goodspeed.lossless.pair import DraftSchedule, EnginePair
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.prompts.prompts import DOMAINS, Prompt, load_prompts

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

CAPTION = (
    "accepted: share of draft tokens; per round: committed tokens; baseline: tokens/s of a single stream without "
    "drafts; drafted: tokens/s of all streams of a batch together"
)
RULES = {"coupled": Rule.COUPLED, "rejection": Rule.REJECTION}


@config_dataclass
class LosslessConfig:
    """The pair, the prompts and the settings of a lossless check."""

    engine: str = option("torch", "target engine", choices=TARGET_ENGINES)
    target: TargetConfig = table(TargetConfig)
    draft: DraftConfig = table(DraftConfig)
    tokenizer: str = option("", "tokenizer of the target: a model's name or folder, or toy; empty: the target's own")
    prompts: str = option("", f"a JSONL file or one of {', '.join(DOMAINS)}; empty: all of these in turns")
    n: int = option(64, "number of prompts", ge=1)
    max_tokens: int = option(64, "answer tokens per prompt", ge=1)
    temperatures: tuple[float, ...] = option(
        (0.0, 0.7, 1.0), "temperatures to check; 0: greedy", ge=0.0, le=100.0, is_required=True
    )
    windows: tuple[int, ...] = option(
        (0, 1, 2, 4, 8), "draft tokens per round; every stream cycles through them", ge=0, is_required=True
    )
    rule: str = option(
        "coupled", "rule above temperature 0: coupled (same text) or rejection (same distribution)", choices=RULES
    )
    streams: int = option(8, "streams in one batch", ge=1)
    samples: int = option(400, "rejection rule: short texts with drafts, and as many without", ge=1)


@dataclass(frozen=True, slots=True)
class LosslessResult:
    """The check at one temperature."""

    temperature: float
    check: TextCheck | DistributionCheck


def add_parser(subparsers: "Subparsers") -> None:
    """Add `verify-lossless`."""
    parser = subparsers.add_parser(
        "verify-lossless",
        description="Generate texts with and without drafts, in one process, and compare them token by token; under "
        "the rejection rule compare the distributions of short texts. Exit code 1 if they differ.",
        epilog="example: goodspeed verify-lossless --target.model smollm2-135m-instruct --draft.engine hybrid --n 16",
    )
    add_flags(parser, LosslessConfig)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    config = from_args(LosslessConfig, args)
    prompts = _prompts(config)  # before the engines: a missing file is known at once
    target, tokenizer = _load(config)
    pair = EnginePair(target, draft_engine(config.draft, target.info.num_tokens))
    tokens = [tuple(tokenizer.encode_chat(_messages(prompt))) for prompt in prompts]
    results = _check_all(pair, config, tokens, target.info.end_tokens)
    if args.json:
        print(json.dumps([_json(result) for result in results], indent=2))
    else:
        _print(results, config)
    return 0 if all(result.check.is_lossless for result in results) else 1


def _load(config: LosslessConfig) -> tuple[TargetEngine, Tokenizer]:
    tokenizer = load_tokenizer(config.tokenizer or (TOY if config.engine == TOY else config.target.model))
    target = target_engine(config.engine, config.target, config.draft.seed)
    if tokenizer.fingerprint != target.info.tokenizer_fingerprint:
        raise ConfigError(
            f"tokenizer is {config.tokenizer!r} with fingerprint {tokenizer.fingerprint}, "
            f"{target.info.model} has {target.info.tokenizer_fingerprint}"
        )
    return target, tokenizer


def _prompts(config: LosslessConfig) -> list[Prompt]:
    """The first n prompts; of the built-in ones, one of each domain in turn."""
    if config.prompts:
        return load_prompts(config.prompts)[: config.n]
    in_turn = itertools.chain.from_iterable(zip(*(load_prompts(domain) for domain in DOMAINS), strict=False))
    return list(itertools.islice(in_turn, config.n))


def _messages(prompt: Prompt) -> list[dict[str, object]]:
    return [{"role": message.role, "content": message.content} for message in prompt.messages]


def _check_all(
    pair: EnginePair, config: LosslessConfig, prompts: Sequence[tuple[int, ...]], end_tokens: tuple[int, ...]
) -> list[LosslessResult]:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    results = []
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        for temperature in config.temperatures:
            rule = RULES[config.rule] if temperature else Rule.GREEDY
            num_texts = config.samples if rule is Rule.REJECTION else len(prompts)
            task = progress.add_task(f"{rule.name.lower()}, temperature {temperature:g}", total=2 * num_texts)
            requests = [
                ReferenceRequest(prompt, config.max_tokens, Sampling(temperature, seed=i, rule=rule), end_tokens)
                for i, prompt in enumerate(prompts)
            ]
            results.append(LosslessResult(temperature, _check(pair, config, requests, partial(progress.advance, task))))
    return results


def _check(
    pair: EnginePair, config: LosslessConfig, requests: Sequence[ReferenceRequest], on_text: Callable[[], object]
) -> TextCheck | DistributionCheck:
    schedule = DraftSchedule(config.windows, config.streams)
    if requests[0].sampling.rule is Rule.REJECTION:
        shortest = min(requests, key=lambda request: len(request.prompt))
        return check_distribution(pair, shortest, schedule, config.samples, on_text)
    return check_texts(pair, requests, schedule, on_text)


def _json(result: LosslessResult) -> dict[str, object]:
    return {"temperature": result.temperature, "is_lossless": result.check.is_lossless, **asdict(result.check)}


def _print(results: Sequence[LosslessResult], config: LosslessConfig) -> None:
    shown = Table("temperature", "texts", "result", "accepted", "per round", "baseline", "drafted", caption=CAPTION)
    for result in results:
        rule = config.rule if result.temperature else "greedy"
        shown.add_row(f"{result.temperature:g} {rule}", *_cells(result.check))
    console = Console()
    console.print(shown)
    for result in results:
        if isinstance(result.check, TextCheck):
            for difference in result.check.differences[:5]:
                console.print(
                    f"temperature {result.temperature:g}: prompt {difference.text} differs from its answer token "
                    f"{difference.position} on: baseline {difference.baseline}, with drafts {difference.speculative}"
                )


def _cells(check: TextCheck | DistributionCheck) -> list[str]:
    if isinstance(check, DistributionCheck):
        verdict = "same" if check.is_lossless else "different"
        return [f"2 x {check.num_texts}", f"p = {check.p_value:.2g}, {verdict}"]
    return [
        str(check.num_texts),
        "identical" if check.is_lossless else f"{len(check.differences)} differ",
        f"{check.acceptance_rate:.3f}",
        f"{check.tokens_per_round:.2f}",
        f"{check.num_tokens / check.baseline_s:,.0f}",
        f"{check.num_tokens / check.speculative_s:,.0f}",
    ]

"""Hot swap under load: torch drafts are exchanged while 8 streams run over real servers. Who waits, is any text other?

One drafter and one verifier, each a process of its own, speak gRPC. Eight users ask without a pause. Meanwhile
POST /admin/draft exchanges the drafter's engine, one exchange after another: the larger of the shipped nets, the hybrid
without a net, the smaller net. Then the target alone answers the same prompts greedily: every text must be the same.
What rounds waited is read from the verifier's event log: of each stream the verification steps and the time from one
round to the next, apart for rounds that an exchange touches (from its request to its reply, and one round beyond).
Every client has the same grant, so that every round drafts.

    python -m runs.hot_swap [--begin hybrid] [--json FILE]

It begins with the smaller net; with `--begin hybrid` the first exchange has to import PyTorch too. About three minutes
on two cores. Exit code 1: a text differs.
"""

import argparse
import asyncio
import itertools
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from goodspeed.bench.answer import LoadAnswer
from goodspeed.bench.endpoint import OpenAIEndpoint, RequestSettings, http_client
from goodspeed.bench.experiment import DISTRIBUTED, TARGET_ONLY
from goodspeed.bench.load import LoadShape, run_load
from goodspeed.cluster.arms import core_flags, draft_flags
from goodspeed.cluster.cluster import Cluster, start_clusters
from goodspeed.cluster.processes import Processes
from goodspeed.cluster.topology import ClusterSpec, DrafterSpec, verifier_log, with_verifier_log
from goodspeed.engine.drafts import DraftConfig
from goodspeed.prompts.prompts import DOMAINS, Prompt, load_prompts
from goodspeed.stats.ratio_estimate import ratio_of_sums
from goodspeed.stats.summary import quantile, ratio
from goodspeed.tuning.online.drafter_admin import HttpDrafterAdmin

NUM_STREAMS = 8
BEGIN = "torch,model=smollm2-draft-12m"
DRAFTS = (
    DraftConfig(engine="torch", model="smollm2-draft-21m"),
    DraftConfig(engine="hybrid"),
    DraftConfig(engine="torch", model="smollm2-draft-12m"),
)
PAUSE_S = 1.0  # between exchanges: rounds that none touches


@dataclass(frozen=True, slots=True)
class Swap:
    """One exchange; times on the machine's monotonic clock."""

    draft: str
    asked_s: float
    done_s: float
    resident_mb: float
    """Of the drafter's process, afterwards."""


@dataclass(frozen=True, slots=True)
class Round:
    """A round of one stream, by the verifier's log."""

    stream: int
    step: int  # the verification that judged it
    at_s: float
    num_proposed: int
    num_accepted: int


@dataclass(frozen=True, slots=True)
class Gap:
    """From one round of a stream to its next."""

    begin_s: float
    end_s: float
    num_steps: int
    num_proposed: int

    def touches(self, swaps: Sequence[Swap]) -> bool:
        return any(self.begin_s <= swap.done_s and swap.asked_s <= self.end_s for swap in swaps)


@dataclass(frozen=True, slots=True)
class Load:
    """What was asked while the swaps went on, and what came."""

    swaps: Sequence[Swap]
    asked: Sequence[Prompt]
    answers: Sequence[LoadAnswer]
    peak_mb: float


def main() -> int:
    args = _parser().parse_args()
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        drafter = DrafterSpec("edge", "", draft_flags(args.begin))
        spec = with_verifier_log(ClusterSpec("swaps", ("--engine", "torch", *core_flags("fixed")), (drafter,)), folder)
        with Processes(folder) as processes:
            (cluster,) = start_clusters(processes, [spec])
            load, alone = asyncio.run(_measured(cluster, args))
        rounds = list(rounds_of(verifier_log(spec, folder), until_s=max(one.end_s for one in load.answers)))
    num_differing = sum(text_of(one) != text_of(other) for one, other in zip(load.answers, alone, strict=True))
    report(load, rounds, num_differing)
    if args.json:
        content = {"differing": num_differing, "swaps": [asdict(one) for one in load.swaps], "peak_mb": load.peak_mb}
        args.json.write_text(json.dumps({**content, "rounds": [asdict(one) for one in rounds]}), encoding="utf-8")
    return 1 if num_differing else 0


def text_of(answer: LoadAnswer) -> tuple[str, str]:
    return answer.text, answer.finish_reason


async def _measured(cluster: Cluster, args: argparse.Namespace) -> tuple[Load, list[LoadAnswer]]:
    """Under load, then the same prompts to the target alone."""
    async with http_client() as http:
        endpoint = OpenAIEndpoint(http, cluster.urls[0])

        async def ask(prompt: Prompt, mode: str) -> LoadAnswer:
            return await endpoint.ask(prompt, RequestSettings(args.tokens, mode=mode), time.monotonic, lambda _: None)

        over, told = asyncio.Event(), list[tuple[Prompt, LoadAnswer]]()

        async def use(prompts: Iterator[Prompt]) -> None:
            while not over.is_set():
                prompt = next(prompts)
                told.append((prompt, await ask(prompt, DISTRIBUTED)))

        async def swap_all() -> list[Swap]:
            swaps = [await swap(cluster, number) for number in range(args.swaps)]
            over.set()
            return swaps

        prompts = itertools.cycle(prompts_in_turns())
        async with asyncio.TaskGroup() as group:
            swapping = group.create_task(swap_all())
            for _ in range(NUM_STREAMS):
                group.create_task(use(prompts))
        _, peak_mb = memory_mb(cluster.drafters[0].pid)
        load = Load(swapping.result(), [prompt for prompt, _ in told], [answer for _, answer in told], peak_mb)
        alone = await run_load(lambda prompt: ask(prompt, TARGET_ONLY), load.asked, LoadShape(NUM_STREAMS))
    return load, alone


async def swap(cluster: Cluster, number: int) -> Swap:
    """After a pause."""
    await asyncio.sleep(PAUSE_S)
    draft, admin, asked_s = DRAFTS[number % len(DRAFTS)], HttpDrafterAdmin(cluster.urls[0]), time.monotonic()
    await asyncio.to_thread(admin.swap, draft)
    done_s = time.monotonic()
    resident_mb, _ = memory_mb(cluster.drafters[0].pid)
    print(f"{number + 1}: {draft.name} in {done_s - asked_s:.2f} s, {resident_mb:.0f} MB", file=sys.stderr, flush=True)
    return Swap(draft.name, asked_s, done_s, resident_mb)


def prompts_in_turns() -> list[Prompt]:
    """Of all domains."""
    return [prompt for some in zip(*(load_prompts(domain) for domain in DOMAINS), strict=False) for prompt in some]


def memory_mb(pid: int) -> tuple[float, float]:
    """Resident now, and at most so far."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    now, peak = (float(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
    return now, peak


def rounds_of(log: Path, until_s: float) -> Iterator[Round]:
    """Rounds that the verifier's log has until then, in order; the prefill's is a stream's first."""
    step, work = 0, dict[int, Mapping[str, Any]]()
    for line in log.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event["event"] == "batch" and event["batch"]["work"]:
            step, work = step + 1, {item["stream"]: item for item in event["batch"]["work"]}
        elif event["event"] == "verified" and event["now"] <= until_s:
            for outcome in event["outcomes"]:
                if outcome["next_token"] is not None:
                    num_proposed = len(work[outcome["stream"]].get("draft_tokens", ()))
                    yield Round(outcome["stream"], step, event["now"], num_proposed, outcome["num_accepted"])


def gaps_of(rounds: Sequence[Round], swaps: Sequence[Swap]) -> tuple[list[Gap], list[Gap]]:
    """(those that no exchange touches, the others)"""
    found: tuple[list[Gap], list[Gap]] = [], []
    by_stream = sorted(rounds, key=lambda one: (one.stream, one.step))
    for _, mine in itertools.groupby(by_stream, key=lambda one: one.stream):
        was_touched = False
        for one, other in itertools.pairwise(mine):
            gap = Gap(one.at_s, other.at_s, other.step - one.step, other.num_proposed)
            is_touched = gap.touches(swaps)
            found[is_touched or was_touched].append(gap)
            was_touched = is_touched
    return found


def report(load: Load, rounds: Sequence[Round], num_differing: int) -> None:
    console = Console(highlight=False, width=120)
    took = [swap.done_s - swap.asked_s for swap in load.swaps]
    console.print(
        f"{len(load.swaps)} exchanges under {NUM_STREAMS} streams, {quantile(took, 0.5):.2f} s each (at most "
        f"{max(took):.2f}); {num_differing} of {len(load.answers)} texts differ from the target's alone"
    )
    console.print(gap_table(gaps_of(rounds, load.swaps)))
    console.print(draft_table(load, rounds))
    console.print(f"drafter's memory: at most {load.peak_mb:.0f} MB")


def gap_table(gaps: tuple[list[Gap], list[Gap]]) -> Table:
    """The least interval is a round; the last column counts in the median round without an exchange."""
    columns = "rounds", "steps: median, p99, most", "ms: median, p99, most", "longest, in rounds", "without a proposal"
    table = Table("from a round to its stream's next", *columns)
    ordinary_s = quantile([gap.end_s - gap.begin_s for gap in gaps[0]], 0.5)
    for name, some in zip(("no exchange", "an exchange goes on"), gaps, strict=True):
        steps = [float(gap.num_steps) for gap in some]
        times = [1e3 * (gap.end_s - gap.begin_s) for gap in some]
        cells = [", ".join(f"{quantile(values, share):.0f}" for share in (0.5, 0.99, 1.0)) for values in (steps, times)]
        longest = f"{max(times) / 1e3 / ordinary_s:.1f}"
        table.add_row(name, str(len(some)), *cells, longest, str(sum(gap.num_proposed == 0 for gap in some)))
    return table


def draft_table(load: Load, rounds: Sequence[Round]) -> Table:
    """Rounds between exchanges, by who drafts."""
    table = Table("draft", "rounds", "proposed", "accepted a round", "s to exchange", "MB afterwards")
    spans = [(one.draft, one.done_s, other.asked_s) for one, other in itertools.pairwise(load.swaps)]
    for name in dict.fromkeys(swap.draft for swap in load.swaps):
        mine = [swap for swap in load.swaps if swap.draft == name]
        drafted = [one for one in rounds if any(who == name and begin < one.at_s < end for who, begin, end in spans)]
        accepted = ratio_of_sums((one.stream, one.num_accepted, 1) for one in drafted)
        proposed = ratio(sum(one.num_proposed for one in drafted), len(drafted))
        took = quantile([one.done_s - one.asked_s for one in mine], 0.5)
        memory = ", ".join(f"{one.resident_mb:.0f}" for one in mine)
        table.add_row(name, str(len(drafted)), f"{proposed:.2f}", str(accepted), f"{took:.2f}", memory)
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--swaps", type=int, default=20)
    parser.add_argument("--begin", default=BEGIN, help="the draft before the first exchange, as in `goodspeed bench`")
    parser.add_argument("--tokens", type=int, default=160, help="longest answer")
    parser.add_argument("--json", type=Path, help="every round and every exchange")
    return parser


if __name__ == "__main__":
    sys.exit(main())

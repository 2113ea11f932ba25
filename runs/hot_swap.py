"""Hot swap under load: a drafter's draft is replaced while 8 streams run, and the delays of rounds are measured.

One drafter and one verifier, each in its own process, communicate over gRPC. Eight users send requests without a pause.
Meanwhile POST /admin/draft replaces the drafter's engine again and again: by the larger shipped draft model, by the
hybrid without a model, by the smaller model. Then the target-only baseline answers the same prompts greedily, and all
texts must be the same. The verifier's event log gives, for each stream, the verification steps and the time from one
round to the next, separately for rounds during a swap (from its request to its reply, and one round more). All clients
have the same grant, so that every round drafts.

    python -m runs.hot_swap --json hot_swap.json

The run starts with the smaller model. With `--start hybrid` the first swap has to import PyTorch too. Exit code 1: a
text differs. Three minutes on two cores; needs the target and the shipped draft models.
"""

import argparse
import asyncio
import itertools
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

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
START = "torch,model=smollm2-draft-12m"
DRAFTS = (
    DraftConfig(engine="torch", model="smollm2-draft-21m"),
    DraftConfig(engine="hybrid"),
    DraftConfig(engine="torch", model="smollm2-draft-12m"),
)
PAUSE_S = 1.0  # between swaps, for rounds without a swap


@dataclass(frozen=True, slots=True)
class Swap:
    """One swap; times are of the machine's monotonic clock."""

    draft: str
    requested_s: float
    done_s: float
    resident_mb: float
    """Memory of the drafter's process afterwards."""


@dataclass(frozen=True, slots=True)
class LoggedRound:
    """A round of one stream, from the verifier's event log."""

    stream: int
    step: int  # the verification step
    at_s: float
    num_proposed: int
    num_accepted: int


@dataclass(frozen=True, slots=True)
class RoundInterval:
    """The interval from one round of a stream to its next."""

    start_s: float
    end_s: float
    num_steps: int
    num_proposed: int

    def touches(self, swaps: Sequence[Swap]) -> bool:
        return any(self.start_s <= swap.done_s and swap.requested_s <= self.end_s for swap in swaps)


@dataclass(frozen=True, slots=True)
class SwapLoad:
    """The requests during the swaps, and their answers."""

    swaps: Sequence[Swap]
    prompts_sent: Sequence[Prompt]
    answers: Sequence[LoadAnswer]
    peak_mb: float


def main() -> int:
    args = _parser().parse_args()
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        drafter = DrafterSpec("edge", "", draft_flags(args.start))
        spec = with_verifier_log(ClusterSpec("swaps", ("--engine", "torch", *core_flags("fixed")), (drafter,)), folder)
        with Processes(folder) as processes:
            (cluster,) = start_clusters(processes, [spec])
            load, baseline = asyncio.run(_measured(cluster, args))
        rounds = list(logged_rounds(verifier_log(spec, folder), until_s=max(answer.end_s for answer in load.answers)))
    num_differing = sum(
        text_of(distributed) != text_of(target_only)
        for distributed, target_only in zip(load.answers, baseline, strict=True)
    )
    report(load, rounds, num_differing)
    if args.json:
        content = {"differing": num_differing, "swaps": [asdict(swap) for swap in load.swaps], "peak_mb": load.peak_mb}
        args.json.write_text(json.dumps({**content, "rounds": [asdict(entry) for entry in rounds]}), encoding="utf-8")
    return 1 if num_differing else 0


def text_of(answer: LoadAnswer) -> tuple[str, str]:
    return answer.text, answer.finish_reason


async def _measured(cluster: Cluster, args: argparse.Namespace) -> tuple[SwapLoad, list[LoadAnswer]]:
    """Answers under load, and the baseline's answers to the same prompts."""
    async with http_client() as http:
        endpoint = OpenAIEndpoint(http, cluster.urls[0])

        async def request(prompt: Prompt, mode: str) -> LoadAnswer:
            return await endpoint.generate(
                prompt, RequestSettings(args.tokens, mode=mode), time.monotonic, lambda _: None
            )

        is_over, answered = asyncio.Event(), list[tuple[Prompt, LoadAnswer]]()

        async def use(prompts: Iterator[Prompt]) -> None:
            while not is_over.is_set():
                prompt = next(prompts)
                answered.append((prompt, await request(prompt, DISTRIBUTED)))

        async def swap_all() -> list[Swap]:
            swaps = [await swap(cluster, number) for number in range(args.swaps)]
            is_over.set()
            return swaps

        prompts = itertools.cycle(prompts_in_turns())
        async with asyncio.TaskGroup() as group:
            swapping = group.create_task(swap_all())
            for _ in range(NUM_STREAMS):
                group.create_task(use(prompts))
        _, peak_mb = memory_mb(cluster.drafters[0].pid)
        load = SwapLoad(
            swapping.result(), [prompt for prompt, _ in answered], [answer for _, answer in answered], peak_mb
        )
        baseline = await run_load(
            lambda prompt: request(prompt, TARGET_ONLY), load.prompts_sent, LoadShape(NUM_STREAMS)
        )
    return load, baseline


async def swap(cluster: Cluster, number: int) -> Swap:
    """Swap the draft after a pause."""
    await asyncio.sleep(PAUSE_S)
    draft, admin, requested_s = DRAFTS[number % len(DRAFTS)], HttpDrafterAdmin(cluster.urls[0]), time.monotonic()
    await asyncio.to_thread(admin.swap, draft)
    done_s = time.monotonic()
    resident_mb, _ = memory_mb(cluster.drafters[0].pid)
    print(
        f"{number + 1}: {draft.name} in {done_s - requested_s:.2f} s, {resident_mb:.0f} MB", file=sys.stderr, flush=True
    )
    return Swap(draft.name, requested_s, done_s, resident_mb)


def prompts_in_turns() -> list[Prompt]:
    """Prompts of all domains in turn."""
    return [
        prompt for prompts in zip(*(load_prompts(domain) for domain in DOMAINS), strict=False) for prompt in prompts
    ]


def memory_mb(pid: int) -> tuple[float, float]:
    """(resident memory, its peak)."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    now, peak = (float(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
    return now, peak


def logged_rounds(log: Path, until_s: float) -> Iterator[LoggedRound]:
    """The rounds of the event log up to `until_s`, in order. The first round of a stream is its prefill."""
    step = 0
    for line in log.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event["event"] == "verified" and event["work"] and event["now"] <= until_s:
            step += 1
            for work, outcome in zip(event["work"], event["outcomes"], strict=True):
                if outcome["next_token"] is not None:
                    num_proposed = len(work.get("draft_tokens", ()))
                    yield LoggedRound(outcome["stream"], step, event["now"], num_proposed, outcome["num_accepted"])


def intervals_of(
    rounds: Sequence[LoggedRound], swaps: Sequence[Swap]
) -> tuple[list[RoundInterval], list[RoundInterval]]:
    """(intervals without a swap, intervals during a swap and one more)."""
    found: tuple[list[RoundInterval], list[RoundInterval]] = [], []
    by_stream = sorted(rounds, key=lambda entry: (entry.stream, entry.step))
    for _, of_stream in itertools.groupby(by_stream, key=lambda entry: entry.stream):
        was_touched = False
        for earlier, later in itertools.pairwise(of_stream):
            interval = RoundInterval(earlier.at_s, later.at_s, later.step - earlier.step, later.num_proposed)
            is_touched = interval.touches(swaps)
            found[is_touched or was_touched].append(interval)
            was_touched = is_touched
    return found


def report(load: SwapLoad, rounds: Sequence[LoggedRound], num_differing: int) -> None:
    console = Console(highlight=False, width=120)
    durations_s = [swap.done_s - swap.requested_s for swap in load.swaps]
    console.print(
        f"{len(load.swaps)} swaps under {NUM_STREAMS} streams, {quantile(durations_s, 0.5):.2f} s each (max "
        f"{max(durations_s):.2f}); {num_differing} of {len(load.answers)} texts differ from the baseline's"
    )
    console.print(interval_table(intervals_of(rounds, load.swaps)))
    console.print(draft_table(load, rounds))
    console.print(f"drafter's memory: peak {load.peak_mb:.0f} MB")


def interval_table(intervals: tuple[list[RoundInterval], list[RoundInterval]]) -> Table:
    """Intervals between rounds. "longest" is in units of the median interval without a swap."""
    columns = "rounds", "steps: median, p99, max", "ms: median, p99, max", "longest, in rounds", "without a proposal"
    table = Table("from a round to its stream's next", *columns)
    ordinary_s = quantile([interval.end_s - interval.start_s for interval in intervals[0]], 0.5)
    for name, group in zip(("no swap", "during a swap"), intervals, strict=True):
        steps = [float(interval.num_steps) for interval in group]
        times = [1e3 * (interval.end_s - interval.start_s) for interval in group]
        cells = [", ".join(f"{quantile(values, share):.0f}" for share in (0.5, 0.99, 1.0)) for values in (steps, times)]
        longest = f"{max(times) / 1e3 / ordinary_s:.1f}"
        table.add_row(
            name, str(len(group)), *cells, longest, str(sum(interval.num_proposed == 0 for interval in group))
        )
    return table


def draft_table(load: SwapLoad, rounds: Sequence[LoggedRound]) -> Table:
    """Rounds between swaps, by draft."""
    table = Table("draft", "rounds", "proposed", "accepted per round", "s to swap", "MB afterwards")
    spans = [(earlier.draft, earlier.done_s, later.requested_s) for earlier, later in itertools.pairwise(load.swaps)]
    for name in dict.fromkeys(swap.draft for swap in load.swaps):
        of_draft = [swap for swap in load.swaps if swap.draft == name]
        drafted = [
            entry for entry in rounds if any(draft == name and start < entry.at_s < end for draft, start, end in spans)
        ]
        accepted = ratio_of_sums((entry.stream, entry.num_accepted, 1) for entry in drafted)
        proposed = ratio(sum(entry.num_proposed for entry in drafted), len(drafted))
        duration_s = quantile([swap.done_s - swap.requested_s for swap in of_draft], 0.5)
        memory = ", ".join(f"{swap.resident_mb:.0f}" for swap in of_draft)
        table.add_row(name, str(len(drafted)), f"{proposed:.2f}", str(accepted), f"{duration_s:.2f}", memory)
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--swaps", type=int, default=20)
    parser.add_argument("--start", default=START, help="the draft before the first swap, as in `goodspeed bench`")
    parser.add_argument("--tokens", type=int, default=160, help="longest answer, in tokens")
    parser.add_argument("--json", type=Path, help="file for all rounds and swaps")
    return parser


if __name__ == "__main__":
    sys.exit(main())

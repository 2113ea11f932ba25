"""Windows live, with unlike links and a load step: the real pair, target-only, static 4, AWC and the default.

Six drafters with round trips of 0.3 to 80 ms. In each run three of them have users from the start, and the other three
from a third of the run on: the load doubles. A client's goodput is its tokens per second while it has a user. The arms
take turns; ratios are of the geometric means over the clients, in the same repetition. Static 4 is DSD's baseline and
AWC its controller, both with the scheduler `fixed` and without drafts at the verifier; "AWC, co-located" switches to
them instead. 25 minutes on two quiet cores; needs the target model.

    python -m runs.live_windows
"""

import argparse
import asyncio
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from rich.console import Console
from rich.table import Table

from goodspeed.bench.answer import LoadAnswer
from goodspeed.bench.comparison import BenchClient
from goodspeed.bench.endpoint import OpenAIEndpoint, RequestSettings, http_client
from goodspeed.bench.experiment import client_of
from goodspeed.bench.load import gather
from goodspeed.cluster.cluster import Cluster, start_clusters
from goodspeed.cluster.processes import Processes
from goodspeed.cluster.topology import UNCACHED, ClusterSpec, ServerOptions, uniform_drafters
from goodspeed.prompts.prompts import DOMAINS
from goodspeed.stats.summary import jain_index

RTTS_MS = (0.3, 40.0, 80.0, 20.0, 0.3, 80.0)
NUM_EARLY = 3
"""Clients that have users from the start."""
STEP = 1 / 3
"""When the others come, as a share of the run."""
WAKE_TOKENS = 8


@dataclass(frozen=True)
class WindowArm:
    """A way to choose windows and modes."""

    scheduler: str
    drafter: tuple[str, ...] = ()
    co_located: str = ""
    mode: str = "distributed"


PAPER = "fixed,budget={budget}"
ARMS: Mapping[str, WindowArm] = {
    "target-only": WindowArm("time_aware", mode="target_only"),
    "static 4": WindowArm(PAPER, ("--window.policy", "fixed", "--window.max-tokens", "4"), "none"),
    "AWC": WindowArm(PAPER, ("--window.policy", "awc"), "none"),
    "AWC, co-located": WindowArm(
        f"{PAPER},co_located_tokens=8", ("--window.policy", "awc", "--window.awc.mode", "co_located")
    ),
    "default": WindowArm("time_aware"),
}


@dataclass(frozen=True)
class LoadStep:
    """The load of a run."""

    seconds: float
    max_tokens: int
    first_prompt: int
    """Number of the prompt with which every client begins."""


@dataclass(frozen=True)
class LiveRun:
    """What one arm did in one repetition."""

    goodputs: tuple[float, ...]  # tokens/s, by client
    texts: Mapping[tuple[int, int], str]  # by client and number of the prompt

    @property
    def mean(self) -> float:
        """Geometric mean of the goodputs."""
        return math.exp(fmean(math.log(goodput) for goodput in self.goodputs))


def main() -> None:
    args = _arguments()
    options = ServerOptions(args.pair, 0.8)
    specs = [_spec(name, ARMS[name], options) for name in args.arms]
    clients = [client_of(f"client{i}", DOMAINS[i % len(DOMAINS)], 0) for i in range(len(RTTS_MS))]
    with tempfile.TemporaryDirectory() as folder, Processes(Path(folder)) as processes:
        clusters = dict(zip(args.arms, start_clusters(processes, specs), strict=True))
        runs = asyncio.run(measure(clusters, clients, args))
    show(runs)


async def measure(
    clusters: Mapping[str, Cluster], clients: Sequence[BenchClient], args: argparse.Namespace
) -> dict[str, list[LiveRun]]:
    """The runs of each arm, one per repetition; each repetition starts with another arm."""
    runs: dict[str, list[LiveRun]] = {name: [] for name in clusters}
    names = list(clusters)
    async with http_client() as http:
        for repetition in range(-1, args.repetitions):  # the first one warms up
            for name in names[max(0, repetition) % len(names) :] + names[: max(0, repetition) % len(names)]:
                endpoints = [OpenAIEndpoint(http, url) for url in clusters[name].urls]
                seconds = args.seconds if repetition >= 0 else args.seconds / 3
                load = LoadStep(seconds, args.max_tokens, 1 + 3 * max(0, repetition))
                run = await _run(endpoints, clients, ARMS[name].mode, load)
                print(f"{name}, repetition {repetition + 1}: {run.mean:.2f} tokens/s a client", flush=True)
                if repetition >= 0:
                    runs[name].append(run)
    return runs


async def _run(
    endpoints: Sequence[OpenAIEndpoint], clients: Sequence[BenchClient], mode: str, load: LoadStep
) -> LiveRun:
    wake = RequestSettings(WAKE_TOKENS, mode=mode)
    await gather(
        [
            endpoint.generate(client.prompts[0], wake, time.perf_counter, lambda _: None)
            for endpoint, client in zip(endpoints, clients, strict=True)
        ]
    )
    started_s = time.perf_counter()
    settings = RequestSettings(load.max_tokens, mode=mode)
    texts: dict[tuple[int, int], str] = {}

    def clock() -> float:
        return time.perf_counter() - started_s

    async def use(number: int) -> float:
        start_s = 0.0 if number < NUM_EARLY else STEP * load.seconds
        await asyncio.sleep(start_s)
        answers: list[LoadAnswer] = []
        prompts = clients[number].prompts
        while clock() < load.seconds:
            which = (load.first_prompt + len(answers)) % len(prompts)
            answers.append(await endpoints[number].generate(prompts[which], settings, clock, lambda _: None))
            texts[number, which] = answers[-1].text
        return sum(answer.num_tokens_by(load.seconds) for answer in answers) / (load.seconds - start_s)

    goodputs = await gather([use(number) for number in range(len(endpoints))])
    return LiveRun(tuple(goodputs), texts)


def show(runs: Mapping[str, Sequence[LiveRun]]) -> None:
    """A row per arm: medians over the repetitions, with the lowest and the highest."""
    references = [name for name in ("target-only", "static 4") if name in runs]
    columns = ["arm", "tokens/s of all", *(f"mean / {name}" for name in references), "poorest client", "Jain"]
    table = Table(*columns, "texts that differ")
    for name, of_arm in runs.items():
        ratios = [
            _range([run.mean / other.mean for run, other in zip(of_arm, runs[reference], strict=True)])
            for reference in references
        ]
        totals, jain = [sum(run.goodputs) for run in of_arm], [jain_index(run.goodputs) for run in of_arm]
        poorest = [
            min(own / base for own, base in zip(run.goodputs, other.goodputs, strict=True))
            for run, other in zip(of_arm, runs[references[0]], strict=True)
        ]
        table.add_row(name, _range(totals), *ratios, _range(poorest), _range(jain), _differing(of_arm, runs))
    Console(width=190).print(table)


def _differing(of_arm: Sequence[LiveRun], runs: Mapping[str, Sequence[LiveRun]]) -> str:
    """Of the answers that both the arm and the first one have."""
    pairs = [
        (run.texts[key], other.texts[key])
        for run, other in zip(of_arm, next(iter(runs.values())), strict=True)
        for key in run.texts.keys() & other.texts.keys()
    ]
    return f"{sum(text != other for text, other in pairs)} of {len(pairs)}"


def _range(values: Sequence[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def _spec(name: str, arm: WindowArm, options: ServerOptions) -> ClusterSpec:
    window = 4 if name == "static 4" else 12
    scheduler = arm.scheduler.format(budget=window * len(RTTS_MS))
    flags = (*options.drafter_flags(), *arm.drafter)
    drafters = tuple(uniform_drafters(flags, DOMAINS, RTTS_MS, len(RTTS_MS)))
    file_name = name.replace(" ", "-").replace(",", "")
    return ClusterSpec(file_name, (*options.verifier_flags(scheduler, arm.co_located), *UNCACHED), drafters)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--pair", default="smollm2", choices=("smollm2", "toy"))
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=45.0, help="length of a run")
    parser.add_argument("--max-tokens", type=int, default=96)
    return parser.parse_args()


if __name__ == "__main__":
    main()

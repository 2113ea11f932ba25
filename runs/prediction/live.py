"""A set-up run live as the demo does it: a verifier, drafters and a load generator, each a process, on this machine."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from runs.prediction.served import Repetition, Served, of_answer
from runs.prediction.setups import SCHEDULER, Place, Setup
from runs.prediction.watch import Watch

from goodspeed.bench.answer import LoadAnswer
from goodspeed.bench.comparison import Arm, ArmRun, ComparisonPlan, compare
from goodspeed.bench.endpoint import RequestSettings
from goodspeed.bench.experiment import DISTRIBUTED
from goodspeed.bench.load import LoadShape
from goodspeed.cluster.arms import core_flags
from goodspeed.cluster.cluster import Cluster, start_clusters
from goodspeed.cluster.machine import num_cores
from goodspeed.cluster.processes import Processes
from goodspeed.cluster.topology import PAIRS, ClusterSpec, DrafterSpec, verifier_log, with_verifier_log
from goodspeed.records.acceptance_trace import TracedAnswer, read_acceptance_trace

WARM_UP = 1  # answers of each client before the first repetition


@dataclass(frozen=True, slots=True)
class LivePlan:
    """What all set-ups have in common."""

    pair: str
    max_tokens: int


class HostTimes(msgspec.Struct):
    """CPU seconds of a whole live run, by who used them."""

    verifier: float  # without the threads that compute
    engine: float
    drafters: float  # drafting included
    load: float

    def since(self, before: "HostTimes") -> "HostTimes":
        """What was used in between."""
        names = self.__struct_fields__
        return HostTimes(*(getattr(self, name) - getattr(before, name) for name in names))


class LiveRun(msgspec.Struct):
    """A set-up as it was seen."""

    setup: str
    repetitions: list[list[list[Served]]]
    judged: list[list[TracedAnswer]]  # [clients][answers], the warm-up's first, then one repetition after the other
    steps: list[tuple[int, int, int, int]]
    steps_s: list[float]
    gaps_s: list[float]
    drafting_s: list[float]
    info: dict[str, Any]  # the TargetInfo
    host: HostTimes
    num_cores: int  # for all of it together
    seconds: float

    @property
    def watch(self) -> Watch:
        """As if its verifier's log were read again."""
        return Watch(self.steps, self.steps_s, self.gaps_s, self.drafting_s, self.info)

    @property
    def num_rounds(self) -> int:
        """Of all answers, the warm-up's included."""
        return len(self.gaps_s) + sum(len(mine) for mine in self.judged)


class _Silent:
    """A Watcher of a comparison who shows nothing."""

    def on_phase(self, arm: str, repetition: int) -> None:
        """Nothing."""

    def on_text(self, client: str, text: str) -> None:
        """Nothing."""

    def on_answer(self, client: str, answer: LoadAnswer) -> None:
        """Nothing."""


def run_live(setup: Setup, plan: LivePlan) -> LiveRun:
    """Start it, ask it, stop it. Raises StartError and what compare() raises."""
    began = time.monotonic()
    with TemporaryDirectory(prefix="goodspeed-") as folder:
        spec = with_verifier_log(_spec(setup, plan, Path(folder)), Path(folder))
        with Processes(Path(folder)) as processes:
            (cluster,) = start_clusters(processes, [spec])
            before = _host_times(cluster)
            runs = _ask(setup, plan, cluster)
            host = _host_times(cluster).since(before)
        watch = Watch()
        with verifier_log(spec, Path(folder)).open(encoding="utf-8") as lines:
            watch.read(lines)
        judged = [read_acceptance_trace(_acceptance_log(Path(folder), place)) for place in setup.places()]
    return LiveRun(
        setup.name,
        [[[of_answer(answer) for answer in mine] for mine in run.answers] for run in runs],
        judged,
        watch.shapes,
        watch.steps_s,
        watch.gaps_s,
        watch.drafting_s,
        watch.info,
        host,
        num_cores(),
        time.monotonic() - began,
    )


def repetition_of(judged: Sequence[TracedAnswer], requests: int, repetition: int) -> Sequence[TracedAnswer]:
    """A client's answers of one repetition; -1: the warm-up's."""
    if repetition < 0:
        return judged[:WARM_UP]
    first = WARM_UP + repetition * requests
    return judged[first : first + requests]


def repetitions_of(run: LiveRun) -> Sequence[Repetition]:
    """For figures()."""
    return run.repetitions


def _spec(setup: Setup, plan: LivePlan, folder: Path) -> ClusterSpec:
    pair = PAIRS[plan.pair](0.8)
    drafters = [
        DrafterSpec(
            place.name,
            place.domain,
            (*pair.drafter, "--acceptance-trace", str(_acceptance_log(folder, place))),
            place.rtt_ms,
            place.jitter,
        )
        for place in setup.places()
    ]
    return ClusterSpec(setup.name, (*pair.verifier, *core_flags(SCHEDULER)), tuple(drafters))


def _acceptance_log(folder: Path, place: Place) -> Path:
    return folder / f"{place.name}-acceptance.jsonl"


def _ask(setup: Setup, plan: LivePlan, cluster: Cluster) -> list[ArmRun]:
    clients = [place.client() for place in setup.places()]
    asked = ComparisonPlan(RequestSettings(plan.max_tokens), LoadShape(), setup.repetitions, setup.requests, WARM_UP)
    asked.check(clients)
    arm = Arm(setup.name, cluster.urls, DISTRIBUTED, (cluster.verifier.pid,), tuple(d.pid for d in cluster.drafters))
    return asyncio.run(compare([arm], clients, asked, _Silent()))


def _host_times(cluster: Cluster) -> HostTimes:
    """The engine's threads are those of the verifier, its main thread apart, that have computed most."""
    pid = cluster.verifier.pid
    threads = _threads_s(pid)
    main = threads.pop(pid)
    others = sorted(threads.values(), reverse=True)
    engine = others[: num_cores()]
    drafters = sum(sum(_threads_s(ready.pid).values()) for ready in cluster.drafters)
    return HostTimes(main + sum(others) - sum(engine), sum(engine), drafters, time.process_time())


def _threads_s(pid: int) -> dict[int, float]:
    """CPU seconds by thread (the scheduler's own count, in nanoseconds)."""
    return {
        int(folder.name): int((folder / "schedstat").read_text(encoding="utf-8").split()[0]) / 1e9
        for folder in Path(f"/proc/{pid}/task").iterdir()
    }

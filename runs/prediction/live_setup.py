"""A set-up run live as in the demo: a verifier, drafters and a load generator, one process each, on this machine."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from runs.prediction.served_answer import Repetition, ServedAnswer, of_answer
from runs.prediction.setups import SCHEDULER, PredictionSetup, SetupClient
from runs.prediction.step_statistics import StepStatistics

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
class LiveSettings:
    """Settings that all set-ups share."""

    pair: str
    max_tokens: int


class HostTimes(msgspec.Struct):
    """CPU seconds of a whole live run, by process."""

    verifier: float  # without the engine's threads
    engine: float
    drafters: float  # drafting included
    load: float

    def since(self, before: "HostTimes") -> "HostTimes":
        """The CPU seconds since `before`."""
        names = self.__struct_fields__
        return HostTimes(*(getattr(self, name) - getattr(before, name) for name in names))


class LiveRun(msgspec.Struct):
    """A set-up as it was measured."""

    setup: str
    repetitions: list[list[list[ServedAnswer]]]
    traces: list[list[TracedAnswer]]  # [clients][answers]: the warm-up, then one repetition after the other
    steps: list[tuple[int, int, int, int]]
    steps_s: list[float]
    network_s: list[float]
    drafting_s: list[float]
    info: dict[str, Any]  # the TargetInfo
    host: HostTimes
    num_cores: int  # of the machine
    seconds: float

    @property
    def statistics(self) -> StepStatistics:
        """The statistics of the verifier's event log."""
        return StepStatistics(self.steps, self.steps_s, self.network_s, self.drafting_s, self.info)

    @property
    def num_rounds(self) -> int:
        """Rounds of all answers, warm-up included."""
        return len(self.network_s) + sum(len(of_client) for of_client in self.traces)


class _SilentWatcher:
    """A watcher of a comparison that shows nothing."""

    def on_phase(self, arm: str, repetition: int) -> None:
        """Do nothing."""

    def on_text(self, client: str, text: str) -> None:
        """Do nothing."""

    def on_answer(self, client: str, answer: LoadAnswer) -> None:
        """Do nothing."""


def run_live(setup: PredictionSetup, plan: LiveSettings) -> LiveRun:
    """Start the set-up, run its load, stop it. Raises StartError and the errors of compare()."""
    start_s = time.monotonic()
    with TemporaryDirectory(prefix="goodspeed-") as folder:
        spec = with_verifier_log(_spec(setup, plan, Path(folder)), Path(folder))
        with Processes(Path(folder)) as processes:
            (cluster,) = start_clusters(processes, [spec])
            before = _host_times(cluster)
            runs = _run_load(setup, plan, cluster)
            host = _host_times(cluster).since(before)
        statistics = StepStatistics()
        with verifier_log(spec, Path(folder)).open(encoding="utf-8") as lines:
            statistics.read(lines)
        traces = [read_acceptance_trace(_acceptance_log(Path(folder), client)) for client in setup.clients()]
    return LiveRun(
        setup.name,
        [[[of_answer(answer) for answer in of_client] for of_client in run.answers] for run in runs],
        traces,
        statistics.shapes,
        statistics.steps_s,
        statistics.network_s,
        statistics.drafting_s,
        statistics.info,
        host,
        num_cores(),
        time.monotonic() - start_s,
    )


def repetition_of(traces: Sequence[TracedAnswer], requests: int, repetition: int) -> Sequence[TracedAnswer]:
    """A client's answers of one repetition; -1 is the warm-up."""
    if repetition < 0:
        return traces[:WARM_UP]
    first = WARM_UP + repetition * requests
    return traces[first : first + requests]


def repetitions_of(run: LiveRun) -> Sequence[Repetition]:
    """For figures()."""
    return run.repetitions


def _spec(setup: PredictionSetup, plan: LiveSettings, folder: Path) -> ClusterSpec:
    pair = PAIRS[plan.pair](0.8)
    drafters = [
        DrafterSpec(
            client.name,
            client.domain,
            (*pair.drafter, "--acceptance-trace", str(_acceptance_log(folder, client))),
            client.rtt_ms,
            client.jitter,
        )
        for client in setup.clients()
    ]
    return ClusterSpec(setup.name, (*pair.verifier, *core_flags(SCHEDULER)), tuple(drafters))


def _acceptance_log(folder: Path, client: SetupClient) -> Path:
    return folder / f"{client.name}-acceptance.jsonl"


def _run_load(setup: PredictionSetup, plan: LiveSettings, cluster: Cluster) -> list[ArmRun]:
    clients = [client.client() for client in setup.clients()]
    plan_of_load = ComparisonPlan(
        RequestSettings(plan.max_tokens), LoadShape(), setup.repetitions, setup.requests, WARM_UP
    )
    plan_of_load.check(clients)
    arm = Arm(setup.name, cluster.urls, DISTRIBUTED, (cluster.verifier.pid,), tuple(d.pid for d in cluster.drafters))
    return asyncio.run(compare([arm], clients, plan_of_load, _SilentWatcher()))


def _host_times(cluster: Cluster) -> HostTimes:
    """CPU times so far. The engine's threads are the busiest of the verifier, without its main thread."""
    pid = cluster.verifier.pid
    threads = _threads_s(pid)
    main = threads.pop(pid)
    others = sorted(threads.values(), reverse=True)
    engine = others[: num_cores()]
    drafters = sum(sum(_threads_s(ready.pid).values()) for ready in cluster.drafters)
    return HostTimes(main + sum(others) - sum(engine), sum(engine), drafters, time.process_time())


def _threads_s(pid: int) -> dict[int, float]:
    """CPU seconds by thread, from the kernel scheduler's statistics."""
    return {
        int(folder.name): int((folder / "schedstat").read_text(encoding="utf-8").split()[0]) / 1e9
        for folder in Path(f"/proc/{pid}/task").iterdir()
    }

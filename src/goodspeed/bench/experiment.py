"""A complete comparison: clients, plan, measurement and report."""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from goodspeed.bench.comparison import BASELINE, Arm, BenchClient, ComparisonObserver, ComparisonPlan, compare
from goodspeed.bench.report import SCHEMA, Report, arm_reports, request_records
from goodspeed.cluster.cluster import Cluster
from goodspeed.cluster.machine import this_machine
from goodspeed.prompts.prompts import load_prompts

TARGET_ONLY, DISTRIBUTED = "target_only", "distributed"


@dataclass(frozen=True, slots=True)
class Experiment:
    """The clients and their requests. Raises ConfigError if a client has too few prompts."""

    clients: tuple[BenchClient, ...]
    plan: ComparisonPlan
    setup: dict[str, object]
    """Configuration to be written into the report."""

    def __post_init__(self) -> None:
        self.plan.check(self.clients)

    @property
    def num_answers(self) -> int:
        """Answers of one arm, including the warm-up."""
        return len(self.clients) * self.plan.num_prompts


def cluster_arms(clusters: Sequence[Cluster], has_baseline: bool) -> tuple[Arm, ...]:
    """The target-only baseline on the last cluster, if there is a baseline, and every cluster with drafts."""
    baseline = (_arm(BASELINE, clusters[-1], TARGET_ONLY),) if has_baseline else ()
    return (*baseline, *(_arm(cluster.name, cluster, DISTRIBUTED) for cluster in clusters))


def _arm(name: str, cluster: Cluster, mode: str) -> Arm:
    drafter_pids = tuple(ready.pid for ready in cluster.drafters)
    return Arm(name, cluster.urls, mode, (cluster.verifier.pid,), drafter_pids)


def client_of(name: str, source: str, seed: int) -> BenchClient:
    """A client with the prompts of a domain or file, in an order by seed and name. Raises ConfigError."""
    prompts = load_prompts(source)
    order = np.random.default_rng([seed, *name.encode()]).permutation(len(prompts))
    return BenchClient(name, tuple(prompts[index] for index in order))


def measure(experiment: Experiment, arms: Sequence[Arm], observer: ComparisonObserver) -> Report:
    """Measure all arms. Raises the errors of compare()."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    runs = asyncio.run(compare(arms, experiment.clients, experiment.plan, observer))
    names = [client.name for client in experiment.clients]
    settings = experiment.plan.settings
    is_exact = settings.temperature == 0.0 or settings.rule != "rejection"
    return Report(
        schema=SCHEMA,
        started=started,
        command=sys.argv,
        machine=this_machine(),
        setup=experiment.setup,
        arms=arm_reports(runs, names, is_exact),
        requests=request_records(runs, names),
    )


@contextmanager
def run_folder(path: str) -> Iterator[Path]:
    """The folder for logs: `path`, or if that is empty a temporary one, which is kept only after an error."""
    if path:
        yield Path(path)
        return
    folder = Path(tempfile.mkdtemp(prefix="goodspeed-"))
    try:
        yield folder
    except Exception:
        raise
    except BaseException:  # interrupted
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)

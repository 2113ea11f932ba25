"""A set-up in the simulator: the real cores, profiled step times, and the live run's acceptance and lengths."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from runs.prediction.live_setup import WARM_UP, LiveRun, repetition_of
from runs.prediction.served_answer import ServedAnswer, of_record
from runs.prediction.setups import SCHEDULER, PredictionSetup, SetupClient
from runs.prediction.step_statistics import StepStatistics

from goodspeed.records.acceptance_trace import TracedAnswer, write_acceptance_trace
from goodspeed.records.event_log import EventSink, NullEventSink
from goodspeed.simulator.machine import MachineConfig
from goodspeed.simulator.result import RunResult
from goodspeed.simulator.scenario import Scenario, scenario_of
from goodspeed.simulator.world import simulate

START_S = 120.0  # the warm-up has ended by then
MAX_REPETITION_S = 900.0
VERIFIER = "verifier"


@dataclass(frozen=True, slots=True)
class Variant:
    """The source of the replayed acceptance."""

    name: str
    is_own: bool  # of the same repetition; else of the other repetitions in turn


OTHERS, OWN = Variant("other repetitions'", False), Variant("own", True)


@dataclass(frozen=True, slots=True)
class Models:
    """Models of this machine."""

    tables: Path  # of `goodspeed profile`
    folder: Path  # for the replayed traces; without those of other live runs
    machine: MachineConfig


def simulated_repetition(
    setup: PredictionSetup,
    live: LiveRun,
    models: Models,
    which: tuple[int, Variant, int],
    statistics: StepStatistics | None = None,
) -> list[list[ServedAnswer]]:
    """[clients][requests] of a repetition, a variant and a seed; the verifier's events go to `watch`."""
    repetition, variant, seed = which
    folder = models.folder / f"{setup.name}-{repetition}"
    scenario = _scenario(setup, live, models, _traces(setup, live, (repetition, variant, seed), folder))
    result = simulate(scenario, seed, _event_sink(statistics) if statistics else None)
    return _answers(setup, result)


def _event_sink(statistics: StepStatistics) -> Callable[[str], EventSink]:
    return lambda name: statistics if name.startswith(VERIFIER) else NullEventSink()


def _answers(setup: PredictionSetup, result: RunResult) -> list[list[ServedAnswer]]:
    assert not result.num_unfinished
    assert not result.num_failed
    return [
        [
            of_record(record, START_S)
            for record in result.answers
            if record.client == f"{client.name}-0" and record.request >= WARM_UP
        ]
        for client in setup.clients()
    ]


@dataclass(frozen=True, slots=True)
class _Traces:
    """The replayed traces of one client."""

    lengths: Path
    acceptance: Path


def _traces(setup: PredictionSetup, live: LiveRun, which: tuple[int, Variant, int], folder: Path) -> dict[str, _Traces]:
    """The traces by client name."""
    folder.mkdir(parents=True, exist_ok=True)
    (repetition, variant, seed), files = which, {}
    for client, traces in zip(setup.clients(), live.traces, strict=True):
        own_trace = _write_once(folder / f"{client.name}.jsonl", partial(_session, setup, traces, repetition))
        files[client.name] = _Traces(
            own_trace, own_trace if variant.is_own else _others(setup, live, client, (repetition, seed), folder)
        )
    return files


def _others(setup: PredictionSetup, live: LiveRun, client: SetupClient, which: tuple[int, int], folder: Path) -> Path:
    """The traces of other repetitions, of all clients of the same domain.

    Each seed starts with a different session, so that over the seeds every answer is replayed equally often. Clients
    of one domain replay different sessions.
    """
    repetition, seed = which
    sessions = [
        (traces, other)
        for neighbour, traces in zip(setup.clients(), live.traces, strict=True)
        if neighbour.domain == client.domain
        for other in range(setup.repetitions)
        if other != repetition
    ]
    same_domain = [neighbour.name for neighbour in setup.clients() if neighbour.domain == client.domain]
    first = (seed + same_domain.index(client.name) * (setup.repetitions - 1)) % len(sessions)
    rotated = sessions[first:] + sessions[:first]
    return _write_once(
        folder / f"{client.domain}-{first}.jsonl",
        lambda: [answer for traces, other in rotated for answer in _session(setup, traces, other)],
    )


def _session(setup: PredictionSetup, traces: Sequence[TracedAnswer], repetition: int) -> list[TracedAnswer]:
    """A client's answers of the warm-up and of a repetition."""
    return [*traces[:WARM_UP], *repetition_of(traces, setup.requests, repetition)]


def _write_once(path: Path, answers: Callable[[], Sequence[TracedAnswer]]) -> Path:
    """Write the trace once: caches of a trace depend on its modification time."""
    if not path.exists():
        with path.open("w", encoding="utf-8") as file:
            write_acceptance_trace(answers(), file)
    return path


def _scenario(setup: PredictionSetup, live: LiveRun, models: Models, files: dict[str, _Traces]) -> Scenario:
    verifier = {
        "name": VERIFIER,
        "kv_capacity": live.info["kv_capacity"],
        "max_context": live.info["max_context"],
        "latency": _latency(models, "target"),
        "core": {"scheduler": SCHEDULER},
    }
    return scenario_of(
        {
            "name": setup.name,
            "duration_s": START_S + MAX_REPETITION_S,
            "machine": asdict(models.machine),
            "verifiers": [verifier],
            "drafters": [_drafter(client, models, files[client.name]) for client in setup.clients()],
        }
    )


def _drafter(client: SetupClient, models: Models, files: _Traces) -> dict[str, Any]:
    workload_trace = {"file": str(files.lengths), "num_warm_up": WARM_UP, "start_s": START_S}
    return {
        "name": client.name,
        "latency": _latency(models, "draft"),
        "link": {"rtt_ms": client.rtt_ms, "jitter": client.jitter if client.rtt_ms else 0.0},
        "workload": {"arrivals": "acceptance_trace", "acceptance_trace": workload_trace},
        "acceptance": {
            "model": "trace",
            "trace": {"file": str(files.acceptance), "is_in_order": True},
        },
    }


def _latency(models: Models, role: str) -> dict[str, Any]:
    return {"kind": "table", "table": {"path": str(models.tables), "role": role}}

"""The same set-up in the simulator: the very cores, tables of `goodspeed profile`, recorded acceptance and lengths."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from runs.prediction.live import WARM_UP, LiveRun, repetition_of
from runs.prediction.served import Served, of_record
from runs.prediction.setups import SCHEDULER, Place, Setup
from runs.prediction.watch import Watch

from goodspeed.records.acceptance_trace import TracedAnswer, write_acceptance_trace
from goodspeed.records.event_log import EventSink, NullEventSink
from goodspeed.simulator.machine import MachineConfig
from goodspeed.simulator.result import RunResult
from goodspeed.simulator.scenario import Scenario, scenario_of
from goodspeed.simulator.world import simulate

BEGIN_S = 120.0  # warm-up answers have ended by then
LONGEST_S = 900.0  # no repetition takes as long
VERIFIER = "verifier"


@dataclass(frozen=True, slots=True)
class Variant:
    """Whose acceptance is replayed."""

    name: str
    is_own: bool  # the same repetition's; else the other repetitions', in turns. Either answer by answer


OTHERS, OWN = Variant("other repetitions'", False), Variant("own", True)


@dataclass(frozen=True, slots=True)
class Models:
    """What is known of this machine."""

    tables: Path  # of `goodspeed profile`
    folder: Path  # for logs that are replayed; it must have none of other live runs
    machine: MachineConfig


def simulated_repetition(
    setup: Setup, live: LiveRun, models: Models, which: tuple[int, Variant, int], watch: Watch | None = None
) -> list[list[Served]]:
    """[clients][requests] of a repetition, a variant and a seed; the verifier's events go to `watch`."""
    repetition, variant, seed = which
    folder = models.folder / f"{setup.name}-{repetition}"
    scenario = _scenario(setup, live, models, _logs(setup, live, (repetition, variant, seed), folder))
    result = simulate(scenario, seed, _events_of(watch) if watch else None)
    return _answers(setup, result)


def _events_of(watch: Watch) -> Callable[[str], EventSink]:
    return lambda name: watch if name.startswith(VERIFIER) else NullEventSink()


def _answers(setup: Setup, result: RunResult) -> list[list[Served]]:
    assert not result.num_unfinished
    assert not result.num_failed
    return [
        [
            of_record(record, BEGIN_S)
            for record in result.answers
            if record.client == f"{place.name}-0" and record.request >= WARM_UP
        ]
        for place in setup.places()
    ]


@dataclass(frozen=True, slots=True)
class _Logs:
    """Files of one client."""

    lengths: Path
    acceptance: Path


def _logs(setup: Setup, live: LiveRun, which: tuple[int, Variant, int], folder: Path) -> dict[str, _Logs]:
    """By client's name."""
    folder.mkdir(parents=True, exist_ok=True)
    (repetition, variant, seed), logs = which, {}
    for place, judged in zip(setup.places(), live.judged, strict=True):
        own = _written(folder / f"{place.name}.jsonl", partial(_session, setup, judged, repetition))
        logs[place.name] = _Logs(
            own, own if variant.is_own else _others(setup, live, place, (repetition, seed), folder)
        )
    return logs


def _others(setup: Setup, live: LiveRun, place: Place, which: tuple[int, int], folder: Path) -> Path:
    """What was recorded in other repetitions, of all clients that ask of the same domain.

    Each seed begins with another of these sessions: over the seeds every answer is replayed as often as any other, and
    for a request of its own domain where a client asks of several. Clients of one domain replay different sessions.
    """
    repetition, seed = which
    sessions = [
        (judged, other)
        for neighbour, judged in zip(setup.places(), live.judged, strict=True)
        if neighbour.domain == place.domain
        for other in range(setup.repetitions)
        if other != repetition
    ]
    alike = [neighbour.name for neighbour in setup.places() if neighbour.domain == place.domain]
    first = (seed + alike.index(place.name) * (setup.repetitions - 1)) % len(sessions)
    turned = sessions[first:] + sessions[:first]
    return _written(
        folder / f"{place.domain}-{first}.jsonl",
        lambda: [answer for judged, other in turned for answer in _session(setup, judged, other)],
    )


def _session(setup: Setup, judged: Sequence[TracedAnswer], repetition: int) -> list[TracedAnswer]:
    """A client's answers of a repetition, after those to warm up."""
    return [*judged[:WARM_UP], *repetition_of(judged, setup.requests, repetition)]


def _written(path: Path, answers: Callable[[], Sequence[TracedAnswer]]) -> Path:
    """Once: who has filled in a log's gaps knows it by its time of writing."""
    if not path.exists():
        with path.open("w", encoding="utf-8") as file:
            write_acceptance_trace(answers(), file)
    return path


def _scenario(setup: Setup, live: LiveRun, models: Models, logs: dict[str, _Logs]) -> Scenario:
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
            "duration_s": BEGIN_S + LONGEST_S,
            "machine": asdict(models.machine),
            "verifiers": [verifier],
            "drafters": [_drafter(place, models, logs[place.name]) for place in setup.places()],
        }
    )


def _drafter(place: Place, models: Models, logs: _Logs) -> dict[str, Any]:
    recorded = {"file": str(logs.lengths), "num_warm_up": WARM_UP, "start_s": BEGIN_S}
    return {
        "name": place.name,
        "latency": _latency(models, "draft"),
        "link": {"rtt_ms": place.rtt_ms, "jitter": place.jitter if place.rtt_ms else 0.0},
        "workload": {"arrivals": "acceptance_trace", "acceptance_trace": recorded},
        "acceptance": {
            "model": "trace",
            "trace": {"file": str(logs.acceptance), "is_in_order": True},
        },
    }


def _latency(models: Models, role: str) -> dict[str, Any]:
    return {"kind": "table", "table": {"path": str(models.tables), "role": role}}

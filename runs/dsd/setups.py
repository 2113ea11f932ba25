"""The set-ups of DSD's experiments: the data set, the fleet, the round trip, and what changes during the run.

The base files are configs/scenarios/dsd_600.toml and dsd_1000.toml, which name what is from the paper and what is
assumed. Co-located drafts are lookup and n-gram table, with the acceptance that was recorded for a small target model.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runs.co_located_modes import replayed

from goodspeed.config import read_toml

SCENARIOS = Path("configs/scenarios")
DSD_RATES = {"model": "positional", "positional": {"rates": [0.92, 0.883, 0.848, 0.814]}}


@dataclass(frozen=True, slots=True)
class Dataset:
    """Lengths and acceptance of a data set."""

    prompt: Mapping[str, Any]
    answer: Mapping[str, Any]
    acceptance_7b: Mapping[str, Any]
    acceptance_1b: Mapping[str, Any]
    co_located_kind: str
    """Recorded client whose co-located drafts are replayed."""


def _lognormal(mean: float, cv: float) -> dict[str, Any]:
    return {"distribution": "lognormal", "lognormal": {"mean": mean, "cv": cv}}


DATASETS: dict[str, Dataset] = {
    # Lengths and acceptance of DSD's public code.
    "GSM8K": Dataset(
        _lognormal(72.5, 0.4),
        {"distribution": "uniform", "uniform": {"low": 80, "high": 195}},
        DSD_RATES,
        {"model": "fixed", "fixed": {"rate": 0.414}},
        "maths",
    ),
    # Mean lengths of the data set's card. Acceptance of T5-large and T5-small drafts of T5-XXL, greedy (Leviathan et
    # al. 2023, table 3). Spread of lengths: assumed.
    "CNN/DailyMail": Dataset(
        _lognormal(781.0, 0.5),
        _lognormal(56.0, 0.4),
        {"model": "fixed", "fixed": {"rate": 0.74}},
        {"model": "fixed", "fixed": {"rate": 0.65}},
        "rewriting",
    ),
    # Mean lengths of DistServe's workload (Zhong et al., OSDI 2024). 7B drafts as in DSD's code, 1B drafts as recorded
    # for coding. Spread of lengths: assumed.
    "HumanEval": Dataset(
        _lognormal(171.3, 0.4), _lognormal(98.2, 0.6), DSD_RATES, replayed("remote", "coding"), "coding"
    ),
}


@dataclass(frozen=True, slots=True)
class Setup:
    """A fleet with its users. `change` is what happens halfway: "", "rtt", "load" or "domain"."""

    dataset: str
    num_drafters: int
    rtt_ms: float
    change: str = ""

    @property
    def name(self) -> str:
        change = f", {self.change} change" if self.change else ""
        return f"{self.dataset}, {self.num_drafters} drafters, {self.rtt_ms:g} ms{change}"


CONFIGURATIONS = tuple(
    Setup(dataset, num_drafters, rtt_ms)
    for dataset in DATASETS
    for num_drafters in (600, 1000)
    for rtt_ms in (10.0, 30.0)
)
"""The paper's twelve."""
ROUND_TRIPS = tuple(Setup("GSM8K", 600, rtt_ms) for rtt_ms in (1.0, 5.0, 20.0, 40.0, 60.0, 80.0, 100.0))
"""Fused against distributed; 60 ms and more are held out of the training of learned windows."""
CHANGES = tuple(Setup("GSM8K", 600, 10.0, change) for change in ("rtt", "load", "domain"))
STACK = tuple(setup for setup in CONFIGURATIONS if setup.dataset == "GSM8K" and setup.rtt_ms == 10.0)
FAMILIES: dict[str, tuple[Setup, ...]] = {
    "configurations": CONFIGURATIONS,
    "round_trips": ROUND_TRIPS,
    "changes": CHANGES,
    "stack": STACK,
}
LATER_RTT_MS = 60.0
LATER_ACCEPTANCE = {"7b": 0.5, "1b": 0.2}
ANSWERS_BEFORE_CHANGE = 2


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is simulated: 1 / scale of the fleet, with the same load on each verifier, for some seconds."""

    scale: int
    duration_s: float
    link_traces: Path
    """Folder for the trace files of links that change."""


def base_values(setup: Setup, extent: Extent) -> dict[str, Any]:
    """The values of a scenario file."""
    values = read_toml(SCENARIOS / f"dsd_{setup.num_drafters}.toml")
    values["duration_s"] = extent.duration_s
    for tier in values["verifiers"]:
        tier["count"] //= extent.scale
    dataset = DATASETS[setup.dataset]
    for tier in values["drafters"]:
        size = tier["name"].partition("-")[0]
        tier["count"] //= extent.scale
        tier["link"]["rtt_ms"] = setup.rtt_ms
        tier["workload"] |= {"prompt": dict(dataset.prompt), "answer": dict(dataset.answer)}
        tier["acceptance"] = dict(dataset.acceptance_7b if size == "7b" else dataset.acceptance_1b)
        tier["co_located_acceptance"] = replayed("co_located", dataset.co_located_kind)
    if setup.change:
        _CHANGES[setup.change](setup, values, extent)
    return values


def _change_rtt(setup: Setup, values: dict[str, Any], extent: Extent) -> None:
    """The round trip of every drafter is longer in the second half."""
    trace = extent.link_traces / f"rtt-{setup.rtt_ms:g}-{extent.duration_s:g}.csv"
    trace.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"0,{setup.rtt_ms},0,0", f"{extent.duration_s / 2},{LATER_RTT_MS},0,0"]
    trace.write_text("\n".join(["at_s,rtt_ms,bandwidth_mbps,loss", *rows]) + "\n", encoding="utf-8")
    for tier in values["drafters"]:
        tier["link"] = {"trace_file": str(trace), "jitter": tier["link"]["jitter"]}


def _change_load(_setup: Setup, values: dict[str, Any], extent: Extent) -> None:
    """Half of the users of each tier start in the second half."""
    late = []
    for tier in values["drafters"]:
        num_late = tier["count"] // 2
        closed = {**tier["workload"]["closed"], "start_s": extent.duration_s / 2}
        late.append({**tier, "name": f"{tier['name']}-late", "count": num_late})
        late[-1]["workload"] = {**tier["workload"], "closed": closed}
        tier["count"] -= num_late
    values["drafters"] += late


def _change_domain(_setup: Setup, values: dict[str, Any], _extent: Extent) -> None:
    """After its first answers every user asks for what the drafts are worse at; co-located ones are as before."""
    for tier in values["drafters"]:
        size = tier["name"].partition("-")[0]
        first = 0.85 if size == "7b" else 0.414
        rates = [first, LATER_ACCEPTANCE[size]]
        drifting = {"rates": rates, "num_answers": ANSWERS_BEFORE_CHANGE, "shape": "step", "is_cyclic": False}
        tier["acceptance"] = {"model": "drifting", "drifting": drifting}


_CHANGES = {"rtt": _change_rtt, "load": _change_load, "domain": _change_domain}

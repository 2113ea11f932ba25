"""Clients that one verifier serves within an SLO: target-only mode, constant windows, other schedulers and the default.

Scenarios: configs/scenarios/capacity_8b_h100.toml and capacity_70b_h100.toml. SLOs: MLPerf Inference's for the server
scenario (loadgen/mlperf.conf: llama3_1-8b, llama2-70b), interactive (strict) and plain (relaxed), here as shares: 99%
of all requests keep both latencies. Simulations are stored in --folder and made once, so that arms, SLOs and seeds can
be added. Prints tables in Markdown. Hours, compiled half an hour; needs the extra gpu-tables.

    python -m runs.capacity 8b --folder results/capacity
    python -m runs.capacity 70b --folder results/capacity --arms target-only default --slos strict --seeds 2
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from goodspeed.config import read_toml
from goodspeed.experiment.arm import measure
from goodspeed.experiment.capacity import CapacityOutcome, CapacityPlan, Probes, find_capacities
from goodspeed.experiment.capacity_report import HEADERS, capacity_rows, remarks
from goodspeed.experiment.capacity_summary import ArmCapacity, summarise_capacity
from goodspeed.experiment.cell_folder import SCHEMA, CellFolder, SweepManifest
from goodspeed.experiment.executor import SerialExecutor
from goodspeed.experiment.grid import GridCell
from goodspeed.experiment.served_run import ServedRun
from goodspeed.experiment.slo import Slo
from goodspeed.experiment.warm_up import WarmUp, WarmUpSource
from goodspeed.simulator.latency.latency_model import StepShape
from goodspeed.simulator.scenario import Scenario, scenario_of

SCENARIOS = {
    "8b": Path("configs/scenarios/capacity_8b_h100.toml"),
    "70b": Path("configs/scenarios/capacity_70b_h100.toml"),
}
SLOS: Mapping[str, Mapping[str, Slo]] = {
    "8b": {"strict": Slo.parse("tpot=30ms,ttft=500ms"), "relaxed": Slo.parse("tpot=100ms,ttft=2s")},
    "70b": {"strict": Slo.parse("tpot=40ms,ttft=450ms"), "relaxed": Slo.parse("tpot=200ms,ttft=2s")},
}
WINDOW = 4
NO_CO_LOCATED = ("verifiers.*.core.co_located_tokens", 0)
BY_ARRIVAL = ("verifiers.*.core.draft_selection", "arrival")
STATIC = "static 4"
ARMS: dict[str, GridCell] = {
    "target-only": GridCell((("mode", "target_only"),)),
    STATIC: GridCell(
        (
            ("verifiers.*.core.scheduler", "fixed"),
            ("verifiers.*.core.budget", 2**16),  # whatever is proposed is verified
            ("verifiers.*.core.max_proposal", WINDOW),  # no grant is larger: batches are planned by grants
            ("drafters.*.window.policy", "fixed"),
            ("drafters.*.window.max_tokens", WINDOW),
            BY_ARRIVAL,
            NO_CO_LOCATED,
        )
    ),
    "gradient": GridCell((("verifiers.*.core.scheduler", "gradient"), BY_ARRIVAL, NO_CO_LOCATED)),
    "survival": GridCell(  # as vLLM's adaptive verification
        (
            ("verifiers.*.core.scheduler", "fixed"),
            ("verifiers.*.core.draft_selection", "survival"),
            NO_CO_LOCATED,
        )
    ),
    "co-located": GridCell((("mode", "co_located"),)),
    "default": GridCell((("mode", "distributed"),)),
    "perfect drafts": GridCell(  # always right, and free
        (
            ("mode", "co_located"),
            ("drafters.*.co_located_acceptance.model", "fixed"),
            ("drafters.*.co_located_acceptance.fixed.rate", 1.0),
            ("verifiers.*.co_located.token_s", 0.0),
        )
    ),
}
LENGTHS = "drafters.*.workload"
USERS: Mapping[str, tuple[tuple[str, Any], ...]] = {
    "sharegpt": (),
    "no-thinking": ((f"{LENGTHS}.closed.think_s", 0.0), ("drafters.*.count", 15)),
    "azure": (
        (f"{LENGTHS}.prompt.lognormal", {"mean": 1155.0, "cv": 0.96}),
        (f"{LENGTHS}.answer.lognormal", {"mean": 211.0, "cv": 0.77}),
        ("drafters.*.count", 15),
        ("duration_s", 30.0),
    ),
}
"""Changes of the scenario's users: none, no pauses, or the lengths of Azure's trace of conversations (2023), with long
prompts."""
MAX_CLIENTS = 4096
RESOLUTION = 0.05
WARM_UP_SHARE = 0.3


def search(plan: CapacityPlan, values: Mapping[str, Any], folder: Path) -> CapacityOutcome:
    """Search one SLO; what the folder has is not simulated again."""
    cut_s = WARM_UP_SHARE * float(values["duration_s"])
    stored = CellFolder(folder, ServedRun, "capacity search")
    stored.open(SweepManifest(SCHEMA, dict(values), f"{cut_s:g}"), is_resumed=True)
    warm_up = WarmUp(cut_s, WarmUpSource.GIVEN)
    with SerialExecutor() as executor:
        return find_capacities(plan, Probes(plan.arms, measure(), stored, warm_up, executor, lambda: None))


def with_users(values: Mapping[str, Any], users: str) -> dict[str, Any]:
    """The scenario with other users: a key of USERS."""
    return GridCell(USERS[users]).applied_to(values)


def offload_bound(scenario: Scenario, num_streams: int) -> float:
    """1 + window x drafting / verification (arXiv 2606.25091), geometric mean over tiers.

    As many more clients than with the same drafts on the verifier's device, at the same rate. Drafting is the time of a
    token, verification that of a step of `num_streams` streams with proposals of WINDOW tokens.
    """
    latency = scenario.verifiers[0].latency.model()
    context = sum(tier.workload.prompt.lognormal.mean for tier in scenario.drafters) / len(scenario.drafters)
    shape = StepShape(num_streams, (1 + WINDOW) * num_streams, 0, round(num_streams * context))
    verify_s = latency.step_s(shape)
    drafting = [tier.latency.linear.base_s for tier in scenario.drafters]
    return math.exp(fmean(math.log1p(WINDOW * draft_s / verify_s) for draft_s in drafting))


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print(f"| {' | '.join(headers)} |\n|{'---|' * len(headers)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    print()


def curve_rows(arms: Sequence[ArmCapacity]) -> list[list[str]]:
    """Good answers in percent, by number of clients and arm."""
    shares = {arm.name: {point.num_clients: point.good_share for point in arm.curve} for arm in arms}
    counts = sorted({count for found in shares.values() for count in found})
    return [
        [str(count), *(f"{100 * found[count]:.1f}" if count in found else "" for found in shares.values())]
        for count in counts
    ]


def main() -> None:
    args = _parser().parse_args()
    values = with_users(read_toml(SCENARIOS[args.scenario]), args.users)
    if args.until_s:
        values["duration_s"] = args.until_s
    folder = args.folder / f"{args.scenario}-{args.users}"
    arms = {ARMS[name]: scenario_of(ARMS[name].applied_to(values)) for name in args.arms}
    names = {ARMS[name]: name for name in args.arms}
    for title in args.slos:
        plan = CapacityPlan(arms, range(args.seeds), SLOS[args.scenario][title], MAX_CLIENTS, args.resolution)
        found = summarise_capacity(search(plan, values, folder), names)
        print(f"{args.scenario}, {title}: {plan.slo.name}\n")
        print_table(HEADERS, capacity_rows(found))
        print_table(("clients", *names.values()), curve_rows(found))
        print("\n".join(remarks(found)))
    for num_streams in (16, 64, 128, 256):
        bound = offload_bound(next(iter(arms.values())), num_streams)
        print(f"1 + window x drafting / verification at {num_streams} streams: {bound:.2f}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--folder", type=Path, default=Path("results/capacity"), help="where simulations are stored")
    parser.add_argument("--arms", nargs="*", default=list(ARMS), choices=ARMS)
    parser.add_argument("--slos", nargs="*", default=["strict", "relaxed"], choices=["strict", "relaxed"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--resolution", type=float, default=RESOLUTION)
    parser.add_argument("--until-s", type=float, default=0.0, help="simulated seconds; 0: the scenario's own")
    parser.add_argument("--users", default="sharegpt", choices=USERS, help="lengths of requests, and thinking")
    return parser


if __name__ == "__main__":
    main()

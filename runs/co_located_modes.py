"""Drafting over realistic links: the default scheduler, every constant window and target-only mode, simulated.

Eleven set-ups: Llama-3.1-8B on an H100 (7 ms a step) and Llama-3.1-70B in 8 bits on an H200 (22 ms) with 4 to 128
clients. Their round trips are spread over 10 to 30 ms, or 2 to 6. A step takes the time of aiconfigurator's tables, a
remote draft token 1 ms, a co-located one 3 µs of the verifier's host. Acceptance is replayed from
configs/scenarios/traces: four kinds of answers, the remote and the co-located drafts of the same answers. `simulate`
appends one line per cell and seed to a file, `table` summarises such files, so that a single arm can be simulated
again. Goodput is tokens over answer time. 20 minutes for all arms and seeds, compiled; needs the extra gpu-tables.

    python -m runs.co_located_modes simulate cells.jsonl
    python -m runs.co_located_modes table cells.jsonl
"""

import argparse
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from goodspeed.experiment.metrics import latency_s, tpot_s
from goodspeed.simulator.latency.latency_model import LatencyModel, StepShape
from goodspeed.simulator.result import AnswerRecord
from goodspeed.simulator.scenario import Scenario, scenario_of
from goodspeed.simulator.world import simulate

MODELS: dict[str, dict[str, str]] = {
    "8B/H100": {"shape": "llama-3.1-8b", "gpu": "h100_sxm"},
    "70B/H200": {"shape": "llama-3.1-70b", "gpu": "h200_sxm", "weights": "fp8"},
}
KINDS = ("maths", "rewriting", "coding", "travel")
"""Recorded clients whose answers the tiers replay, in turn."""
TRACES = Path("configs/scenarios/traces")
DRAFT_S = 0.001
NUM_TIERS = 16
WARM_UP = 1 / 3
"""Answers that finish in this share of the run are left out."""
CONTEXT = 300
NUM_DRAFTED, KNEE = 4, 1.5
"""A verifier is at its knee if so many draft tokens for each client make its step this much longer."""


@dataclass(frozen=True, slots=True)
class LinkSetup:
    """A target model on its device, and the clients."""

    model: str
    num_clients: int
    rtts_ms: tuple[float, float]
    seconds: float

    @property
    def name(self) -> str:
        low, high = self.rtts_ms
        return f"{self.model}, {self.num_clients} clients, {low:g} to {high:g} ms"

    def rtt_ms(self, tier: int, num_tiers: int) -> float:
        low, high = self.rtts_ms
        return low + (high - low) * tier / (num_tiers - 1)


FAR, NEAR = (10.0, 30.0), (2.0, 6.0)
SETUPS = (
    *(LinkSetup("8B/H100", num, FAR, seconds) for num, seconds in ((4, 30.0), (16, 12.0), (64, 8.0), (128, 8.0))),
    *(LinkSetup("70B/H200", num, FAR, seconds) for num, seconds in ((4, 90.0), (16, 36.0), (64, 18.0), (128, 18.0))),
    *(LinkSetup("70B/H200", num, NEAR, seconds) for num, seconds in ((4, 90.0), (16, 36.0), (64, 18.0))),
)


@dataclass(frozen=True, slots=True)
class ModeArm:
    """A configuration that is compared. Budgets are in tokens per client; None: the default."""

    mode: str
    core: Mapping[str, str | int]
    budget: int | None = None
    window: int | None = None
    co_located_s: float | None = None  # per token of co-located drafting


TARGET_ONLY = "target_only"
DEFAULT = "default"
CO_LOCATED = "co_located"
ARMS: dict[str, ModeArm] = {
    TARGET_ONLY: ModeArm("target_only", {}),
    **{
        f"fixed {window}": ModeArm(
            "distributed", {"scheduler": "fixed", "draft_selection": "arrival"}, budget=window, window=window
        )
        for window in range(1, 9)
    },
    "gradient": ModeArm("distributed", {"scheduler": "gradient", "draft_selection": "arrival"}, budget=4),
    "price": ModeArm("distributed", {"scheduler": "price"}, budget=4),
    CO_LOCATED: ModeArm("co_located", {}),
    DEFAULT: ModeArm("distributed", {}),
}
CAUSES: dict[str, ModeArm] = {
    "default, interpreted drafts": ModeArm("distributed", {}, co_located_s=0.000012),  # without the extra fast
    "default, free drafting": ModeArm("distributed", {}, co_located_s=0.0),
    "default, chunks of 128": ModeArm("distributed", {"prefill_chunk": 128}),
    "target_only, chunks of 128": ModeArm("target_only", {"prefill_chunk": 128}),
    "default, free drafting, chunks of 128": ModeArm("distributed", {"prefill_chunk": 128}, co_located_s=0.0),
}
"""What may make the slowest answers slow: the time of co-located drafting, and prompts in the steps."""


class ModeCell(msgspec.Struct, frozen=True):
    """The outcome of one arm in one set-up under one seed."""

    setup: str
    arm: str
    seed: int
    goodputs: dict[str, float]  # tokens per second of answer time, by client
    tpots_s: list[float]  # time per token of each answer
    acceptance_rate: float
    tokens_per_step: float
    co_located_acceptance_rate: float = 0.0
    rounds: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Shares of remote, co-located and target-only rounds."""


def scenario(setup: LinkSetup, arm: ModeArm) -> Scenario:
    """The scenario of a set-up under an arm."""
    num_tiers = min(NUM_TIERS, setup.num_clients)
    core: dict[str, Any] = {"prefill_chunk": 512, **arm.core}
    if arm.budget is not None:
        core["budget"] = arm.budget * setup.num_clients
    verifier = {
        "kv_capacity": 400_000,
        "latency": {"kind": "aiconfigurator", "aiconfigurator": MODELS[setup.model]},
        "core": core,
        **({} if arm.co_located_s is None else {"co_located": {"token_s": arm.co_located_s}}),
    }
    window = {"policy": "fixed", "max_tokens": arm.window} if arm.window is not None else {}
    tiers = [
        {
            "name": f"tier{tier:02}",
            "count": setup.num_clients // num_tiers,
            "mode": arm.mode,
            "window": window,
            "link": {"rtt_ms": setup.rtt_ms(tier, num_tiers), "jitter": 0.1},
            "latency": {"linear": {"base_s": DRAFT_S, "token_s": 0.0}},
            "acceptance": replayed("remote", KINDS[tier % len(KINDS)]),
            "co_located_acceptance": replayed("co_located", KINDS[tier % len(KINDS)]),
            "workload": {
                "closed": {"think_s": 0.0},
                "prompt": {"lognormal": {"mean": 50.0, "cv": 0.5}},
                "answer": {"lognormal": {"mean": 100.0, "cv": 0.5}},
            },
        }
        for tier in range(num_tiers)
    ]
    return scenario_of({"duration_s": setup.seconds, "drafters": tiers, "verifiers": [verifier]})


def replayed(drafts: str, client: str) -> dict[str, Any]:
    """The acceptance of the drafts that were recorded for a client."""
    return {"model": "trace", "trace": {"file": str(TRACES / f"{drafts}.jsonl"), "client": client}}


def simulate_cell(setup: LinkSetup, arm: str, seed: int) -> ModeCell:
    """Simulate an arm in a set-up."""
    result = simulate(scenario(setup, (ARMS | CAUSES)[arm]), seed)
    answers = [answer for answer in result.answers if answer.finished_s > WARM_UP * setup.seconds]
    by_client: dict[str, list[AnswerRecord]] = {}
    for answer in answers:
        by_client.setdefault(answer.client, []).append(answer)
    goodputs = {
        client: total(found, _num_tokens) / total(found, latency_s) for client, found in sorted(by_client.items())
    }
    tpots_s = [value for value in map(tpot_s, answers) if not math.isnan(value)]
    verifier, num_rounds = result.verifiers[0], total(answers, lambda answer: answer.num_rounds_with_mode)
    num_proposed = total(answers, lambda answer: answer.num_proposed)
    num_co_located = total(answers, lambda answer: answer.num_co_located)
    return ModeCell(
        setup.name,
        arm,
        seed,
        goodputs,
        tpots_s,
        total(answers, lambda answer: answer.num_accepted) / max(1.0, num_proposed),
        verifier.num_tokens / verifier.num_steps,
        total(answers, lambda answer: answer.num_co_located_accepted) / max(1.0, num_co_located),
        (
            total(answers, lambda answer: answer.num_remote_rounds) / num_rounds,
            total(answers, lambda answer: answer.num_co_located_rounds) / num_rounds,
            total(answers, lambda answer: answer.num_target_only_rounds) / num_rounds,
        ),
    )


def total(answers: Iterable[AnswerRecord], of: Callable[[AnswerRecord], float]) -> float:
    return math.fsum(map(of, answers))


def _num_tokens(answer: AnswerRecord) -> float:
    return answer.num_answer_tokens


def step_growth(setup: LinkSetup, latency: LatencyModel) -> float:
    """Time of a step with NUM_DRAFTED draft tokens for each client, relative to a step without draft tokens."""
    num, num_context = setup.num_clients, setup.num_clients * CONTEXT
    drafted = StepShape(num, (1 + NUM_DRAFTED) * num, 0, num_context)
    return latency.step_s(drafted) / latency.step_s(StepShape(num, num, 0, num_context))


def mean_log_ratio(cells: Sequence[ModeCell], others: Sequence[ModeCell]) -> list[float]:
    """For each common seed the mean over clients of the log of their goodputs' ratio."""
    by_seed = {cell.seed: cell.goodputs for cell in others}
    return [
        float(
            np.mean([math.log(cell.goodputs[client] / base[client]) for client in cell.goodputs.keys() & base.keys()])
        )
        for cell in cells
        if (base := by_seed.get(cell.seed))
    ]


def poorest(cells: Sequence[ModeCell], others: Sequence[ModeCell]) -> float:
    """The lowest ratio of a tier's goodput, geometric mean over its clients and all seeds."""
    by_seed = {cell.seed: cell.goodputs for cell in others}
    logs: dict[str, list[float]] = {}
    for cell in cells:
        for client, value in cell.goodputs.items():
            if base := by_seed.get(cell.seed, {}).get(client):
                logs.setdefault(client.split("-")[0], []).append(math.log(value / base))
    return math.exp(min(float(np.mean(values)) for values in logs.values()))


def p99_s(cells: Sequence[ModeCell]) -> float:
    return float(np.quantile([value for cell in cells for value in cell.tpots_s], 0.99))


def ratio_text(logs: Sequence[float]) -> str:
    """Geometric mean over seeds, with the lowest and the highest."""
    return f"{math.exp(float(np.mean(logs))):.3f} ({math.exp(min(logs)):.3f}-{math.exp(max(logs)):.3f})"


def summarise(cells: Sequence[ModeCell]) -> None:
    """Print one row per set-up for the default, then one per set-up and arm."""
    by_arm: dict[tuple[str, str], list[ModeCell]] = {}
    for cell in cells:
        by_arm.setdefault((cell.setup, cell.arm), []).append(cell)
    print(
        "| set-up | step growth | default beside target-only | best constant | default beside it | poorest tier "
        "| p99 of time per token |"
    )
    print("|---|---|---|---|---|---|---|")
    for setup in SETUPS:
        arms = {arm: by_arm[setup.name, arm] for arm in ARMS if (setup.name, arm) in by_arm}
        if DEFAULT in arms and TARGET_ONLY in arms:
            _print_default(setup, arms)
    print(
        "\n| set-up | arm | beside target-only | poorest tier | p99 of time per token | accepted: remote, co-located "
        "| tokens per step | rounds: remote, co-located, target-only, % |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for (setup_name, arm), found in by_arm.items():
        base = by_arm[setup_name, TARGET_ONLY]
        p99 = p99_s(found) / p99_s(base)
        rates = [(cell.acceptance_rate, cell.co_located_acceptance_rate, cell.tokens_per_step) for cell in found]
        remote, co_located, tokens = np.mean(rates, axis=0)
        rounds = " / ".join(f"{100 * share:.0f}" for share in np.mean([cell.rounds for cell in found], axis=0))
        print(
            f"| {setup_name} | {arm} | {ratio_text(mean_log_ratio(found, base))} | {poorest(found, base):.3f} "
            f"| {p99:.3f} | {remote:.2f}, {co_located:.2f} | {tokens:.1f} | {rounds} |"
        )


def _print_default(setup: LinkSetup, arms: Mapping[str, Sequence[ModeCell]]) -> None:
    base, default = arms[TARGET_ONLY], arms[DEFAULT]
    constants = {arm: found for arm, found in arms.items() if arm not in {DEFAULT, CO_LOCATED}}
    best = max(constants, key=lambda arm: float(np.mean(mean_log_ratio(constants[arm], base))))
    growth = step_growth(setup, scenario(setup, ARMS[DEFAULT]).verifiers[0].latency.model())
    knee = ", at the knee" if growth > KNEE else ""
    print(
        f"| {setup.name} | {growth:.2f}{knee} | {ratio_text(mean_log_ratio(default, base))} | {best} "
        f"| {ratio_text(mean_log_ratio(default, constants[best]))} | {poorest(default, base):.3f} "
        f"| {p99_s(default) / p99_s(base):.3f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    simulating = commands.add_parser("simulate", help="append cells to a file")
    simulating.add_argument("file", type=Path)
    simulating.add_argument("--arms", nargs="*", default=list(ARMS), choices=ARMS | CAUSES)
    simulating.add_argument("--setups", type=int, nargs="*", default=range(len(SETUPS)), help="indices from 0")
    simulating.add_argument("--seeds", type=int, default=5)
    tabling = commands.add_parser("table", help="summarise files of cells")
    tabling.add_argument("files", type=Path, nargs="+")
    args = parser.parse_args()
    if args.command == "table":
        lines = [line for file in args.files for line in file.read_bytes().splitlines()]
        summarise([msgspec.json.decode(line, type=ModeCell) for line in lines])
        return
    with args.file.open("ab") as file:
        for setup in (SETUPS[index] for index in args.setups):
            for arm in args.arms:
                for seed in range(args.seeds):
                    file.write(msgspec.json.encode(simulate_cell(setup, arm, seed)) + b"\n")
                    file.flush()


if __name__ == "__main__":
    main()

"""Sanity of the simulator: distributed speculative decoding compared with theory, in five tables.

The tables are the closed form of the speed-up, acceptance, the knee of the step time, the crossover between target-only
and distributed mode, and routing under load. Results are deterministic. Three minutes; no model.

    python -m runs.simulator_physics --plots FOLDER
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from goodspeed.simulator.result import RunResult
from goodspeed.simulator.scenario import scenario_of
from goodspeed.simulator.world import simulate

STEP_S = 0.010
"""Step time of the target where it does not depend on the batch."""


@dataclass(frozen=True, slots=True)
class PhysicsChart:
    """A table that can be plotted: the other columns over the first."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[float]]

    def show(self) -> None:
        print(f"\n{self.title}\n\n| {' | '.join(self.columns)} |\n|{'---|' * len(self.columns)}")
        for row in self.rows:
            print(f"| {' | '.join(f'{value:.4g}' for value in row)} |", flush=True)

    def plot(self, folder: Path) -> None:
        from matplotlib.figure import Figure  # noqa: PLC0415 - only for plots

        axes = (figure := Figure(figsize=(6, 4))).subplots()
        values = np.array(self.rows)
        for i, name in enumerate(self.columns[1:], start=1):
            axes.plot(values[:, 0], values[:, i], marker="o", label=name)
        axes.set(title=self.title, xlabel=self.columns[0], ylim=(0, None))
        axes.legend()
        figure.savefig(folder / f"{self.title.split(':')[0].replace(' ', '_')}.svg")


def linear(base_s: float) -> dict[str, Any]:
    return {"linear": {"base_s": base_s, "token_s": 0.0}}


def fixed(num_tokens: int) -> dict[str, Any]:
    return {"distribution": "fixed", "fixed": {"num_tokens": num_tokens}}


def window(num_tokens: int) -> dict[str, Any]:
    return {"policy": "fixed", "max_tokens": num_tokens}


def long_answers(num_tokens: int) -> dict[str, Any]:
    """One long answer after another, without a pause."""
    return {"closed": {"think_s": 0.0}, "prompt": fixed(16), "answer": fixed(num_tokens)}


def run(tier: Mapping[str, Any], verifiers: Sequence[Mapping[str, Any]], seconds: float, **values: Any) -> RunResult:
    large_verifiers = [{"max_context": 10**6, "kv_capacity": 10**7, **verifier} for verifier in verifiers]
    return simulate(scenario_of({"duration_s": seconds, "drafters": [tier], "verifiers": large_verifiers, **values}))


def token_s(result: RunResult) -> float:
    """Mean time per token after the first."""
    decoding_s = sum(answer.finished_s - answer.first_token_s for answer in result.answers)
    return decoding_s / sum(answer.num_answer_tokens - 1 for answer in result.answers)


def single_stream(rate: float, num_tokens: int, cost: float, rtt_ms: float = 0.0, mode: str = "distributed") -> float:
    """Time per token of a single stream whose draft step takes `cost` target steps."""
    tier = {
        "link": {"rtt_ms": rtt_ms},
        "latency": linear(cost * STEP_S),
        "window": window(num_tokens),
        "acceptance": {"fixed": {"rate": rate}},
        "workload": long_answers(1000),
    }
    verifier = {"latency": linear(STEP_S), "core": {"scheduler": "fixed", "budget": num_tokens}}
    return token_s(run(tier, [verifier], 120.0, mode=mode))


def mean_tokens(rate: float, num_tokens: int) -> float:
    """Expected committed tokens per round."""
    return (1 - rate ** (num_tokens + 1)) / (1 - rate)


def closed_form() -> PhysicsChart:
    rows = []
    for rate, cost in ((0.5, 0.1), (0.8, 0.05), (0.8, 0.3)):
        target_only_s = single_stream(rate, 4, cost, mode="target_only")
        for gamma in (1, 2, 4, 8):
            expected = mean_tokens(rate, gamma) / (gamma * cost + 1)
            rows.append((gamma, rate, cost, expected, target_only_s / single_stream(rate, gamma, cost)))
    columns = ("window", "acceptance", "draft step / target step", "closed form", "simulated")
    return PhysicsChart("closed form: speed-up over the target-only baseline, no network", columns, rows)


def acceptance() -> PhysicsChart:
    rates = (0.1, 0.3, 0.5, 0.7, 0.9)
    rows = [(rate, *(1e3 * single_stream(rate, gamma, 0.1, 20.0) for gamma in (2, 4, 8))) for rate in rates]
    return PhysicsChart(
        "acceptance: ms per token, RTT of 20 ms", ("acceptance", "window 2", "window 4", "window 8"), rows
    )


def knee() -> PhysicsChart:
    """Llama-3.1-8B on an A100 by its spec sheet: tokens are nearly free up to about 128, then each one costs."""
    latency = {"kind": "roofline", "roofline": {"device": "a100_sxm"}}
    windows = (1, 2, 4, 8, 12)
    rows = []
    for num_drafters in (4, 16, 64, 128):
        goodputs = []
        for gamma in windows:
            tier = {
                "count": num_drafters,
                "latency": linear(0.002),
                "window": window(gamma),
                "acceptance": {"fixed": {"rate": 0.8}},
                "workload": long_answers(200),
            }
            core = {"scheduler": "fixed", "budget": gamma * num_drafters, "max_streams": 4, "estimator": "censored"}
            result = run(tier, [{"latency": latency, "core": core}], 600.0 / num_drafters)
            goodputs.append(1.0 / token_s(result))
        rows.append((num_drafters, *goodputs, windows[int(np.argmax(goodputs))]))
    columns = ("drafters", *(f"window {gamma}" for gamma in windows), "best window")
    return PhysicsChart("knee: tokens per second of one stream, by drafters in the batch", columns, rows)


def crossover() -> PhysicsChart:
    """Target-only mode streams and hides the network; a distributed round pays a round trip for mu tokens."""
    rows = []
    for rtt_ms in (0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 60.0):
        rows.append(
            (
                rtt_ms,
                1e3 * single_stream(0.8, 4, 0.1, rtt_ms, "target_only"),
                *(1e3 * single_stream(0.8, g, 0.1, rtt_ms) for g in (2, 4, 8)),
            )
        )
    columns = ("RTT ms", "target-only", "window 2", "window 4", "window 8")
    return PhysicsChart("crossover: ms per token", columns, rows)


def crossover_rtt_ms(rate: float, gamma: int, cost: float) -> float:
    """The RTT at which a round, (1 + gamma c) T + RTT, takes the time of mu tokens in target-only mode, mu T."""
    return 1e3 * STEP_S * (mean_tokens(rate, gamma) - 1 - gamma * cost)


def routing() -> PhysicsChart:
    """Two fast verifiers and two slow ones (a quarter of the speed): round robin saturates the slow ones first."""
    names = ("round_robin", "random", "power_of_two", "jsq", "latency_aware")
    rows = []
    for rate in (0.1, 0.3, 0.5, 0.7):
        answered = []
        for name in names:
            tier = {
                "count": 40,
                "link": {"rtt_ms": 10.0, "jitter": 0.1},
                "latency": linear(0.004),
                "window": window(4),
                "workload": {"arrivals": "poisson", "poisson": {"rate": rate}},
            }
            core = {"scheduler": "fixed", "estimator": "censored", "budget": 96}
            speeds = (("fast", 0.015, 0.0005), ("slow", 0.060, 0.002))
            verifiers = [
                {
                    "name": kind,
                    "count": 2,
                    "kv_capacity": 10_000,
                    "latency": {"linear": {"base_s": base_s, "token_s": per_token_s}},
                    "core": core,
                }
                for kind, base_s, per_token_s in speeds
            ]
            result = run(tier, verifiers, 40.0, routing=name)
            answered.append(len(result.answers) / result.simulated_s)
        rows.append((40 * rate, *answered))
    return PhysicsChart("routing: answers per second, by load", ("requests/s", *names), rows)


CHARTS = {
    "closed_form": closed_form,
    "acceptance": acceptance,
    "knee": knee,
    "crossover": crossover,
    "routing": routing,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("charts", nargs="*", default=list(CHARTS), help=f"tables to compute: {', '.join(CHARTS)}")
    parser.add_argument("--plots", type=Path, help="folder for SVG files")
    args = parser.parse_args()
    for name in args.charts:
        chart = CHARTS[name]()
        chart.show()
        if args.plots:
            args.plots.mkdir(parents=True, exist_ok=True)
            chart.plot(args.plots)
    predicted = ", ".join(f"window {gamma}: {crossover_rtt_ms(0.8, gamma, 0.1):.1f} ms" for gamma in (2, 4, 8))
    print(f"\ncrossover by the closed form: {predicted}")


if __name__ == "__main__":
    main()

"""What theory and intuition say of speculative decoding at a distance, and what the simulated parts do.

    python -m runs.simulator_physics [--plots FOLDER]

Five tables: the closed form, acceptance, the knee, the crossover between fused and distributed, and routing under load.
Seeds are fixed, so the figures are the same everywhere. About 3 minutes on one core.
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from goodspeed.simulator.result import RunResult
from goodspeed.simulator.scenario import scenario_of
from goodspeed.simulator.world import simulate

STEP_S = 0.010
"""Of the target, where it does not depend on the batch."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A table that can be drawn: the first column against the others."""

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
    """One after the other, without a pause."""
    return {"closed": {"think_s": 0.0}, "prompt": fixed(16), "answer": fixed(num_tokens)}


def run(tier: Mapping[str, Any], verifiers: Sequence[Mapping[str, Any]], seconds: float, **values: Any) -> RunResult:
    roomy = [{"max_context": 10**6, "kv_capacity": 10**7, **verifier} for verifier in verifiers]
    return simulate(scenario_of({"duration_s": seconds, "drafters": [tier], "verifiers": roomy, **values}))


def token_s(result: RunResult) -> float:
    """Mean time per token after the first."""
    decoding_s = sum(answer.finished_s - answer.first_token_s for answer in result.answers)
    return decoding_s / sum(answer.num_answer_tokens - 1 for answer in result.answers)


def lone(rate: float, num_tokens: int, cost: float, rtt_ms: float = 0.0, mode: str = "distributed") -> float:
    """Time per token of one drafter, alone at its verifier, whose draft step takes `cost` target steps."""
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
    """Committed by a round."""
    return (1 - rate ** (num_tokens + 1)) / (1 - rate)


def closed_form() -> Chart:
    rows = []
    for rate, cost in ((0.5, 0.1), (0.8, 0.05), (0.8, 0.3)):
        target_only_s = lone(rate, 4, cost, mode="target_only")
        for gamma in (1, 2, 4, 8):
            expected = mean_tokens(rate, gamma) / (gamma * cost + 1)
            rows.append((gamma, rate, cost, expected, target_only_s / lone(rate, gamma, cost)))
    columns = ("window", "acceptance", "draft step / target step", "closed form", "simulated")
    return Chart("closed form: speed-up over the target alone, no network", columns, rows)


def acceptance() -> Chart:
    rates = (0.1, 0.3, 0.5, 0.7, 0.9)
    rows = [(rate, *(1e3 * lone(rate, gamma, 0.1, 20.0) for gamma in (2, 4, 8))) for rate in rates]
    return Chart("acceptance: ms per token, 20 ms away", ("acceptance", "window 2", "window 4", "window 8"), rows)


def knee() -> Chart:
    """Llama-3.1-8B on an A100 by its spec sheet: nearly free up to some 128 tokens, then every token counts."""
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
    return Chart("knee: tokens per second of one stream, by drafters in the batch", columns, rows)


def crossover() -> Chart:
    """Fused hides the network behind streaming; a distributed round pays a round trip, and brings mu tokens for it."""
    rows = []
    for rtt_ms in (0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 60.0):
        rows.append(
            (
                rtt_ms,
                1e3 * lone(0.8, 4, 0.1, rtt_ms, "target_only"),
                *(1e3 * lone(0.8, g, 0.1, rtt_ms) for g in (2, 4, 8)),
            )
        )
    columns = ("RTT ms", "target-only", "window 2", "window 4", "window 8")
    return Chart("crossover: ms per token", columns, rows)


def crossover_rtt_ms(rate: float, gamma: int, cost: float) -> float:
    """Where (1 + gamma c) T + RTT, the round, is mu T, what fused takes for its tokens."""
    return 1e3 * STEP_S * (mean_tokens(rate, gamma) - 1 - gamma * cost)


def routing() -> Chart:
    """Two fast verifiers and two that are four times as slow: taking turns fills the slow ones first."""
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
    return Chart("routing: answers per second, by load", ("requests/s", *names), rows)


CHARTS = {
    "closed_form": closed_form,
    "acceptance": acceptance,
    "knee": knee,
    "crossover": crossover,
    "routing": routing,
}


def main(names: Iterable[str], plots: Path | None) -> None:
    for name in names:
        chart = CHARTS[name]()
        chart.show()
        if plots:
            plots.mkdir(parents=True, exist_ok=True)
            chart.plot(plots)
    predicted = ", ".join(f"window {gamma}: {crossover_rtt_ms(0.8, gamma, 0.1):.1f} ms" for gamma in (2, 4, 8))
    print(f"\ncrossover by the closed form: {predicted}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("charts", nargs="*", default=list(CHARTS), help=f"which: {', '.join(CHARTS)}")
    parser.add_argument("--plots", type=Path, help="folder for SVG files")
    args = parser.parse_args()
    main(args.charts, args.plots)

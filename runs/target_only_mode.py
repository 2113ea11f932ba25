"""Gain of target-only mode in the simulator: goodputs of four clients over near, mixed and far links.

    for kind in summarization math_reasoning writing; do
        python -m runs.teacher_forced_trace DATA $kind.jsonl --categories $kind --engine hybrid
    done
    python -m runs.target_only_mode summarization.jsonl math_reasoning.jsonl writing.jsonl coding.jsonl

Each of the four clients replays one acceptance trace. A target step takes 13.8 ms and 0.46 ms per token, as
SmolLM2-135M on two Zen 5 cores; a draft takes 0.2 ms. Results are relative to the target-only baseline. Half a minute
per arm and link setting with two seeds; no model.
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from goodspeed.simulator.scenario import Scenario, scenario_of
from goodspeed.simulator.world import simulate

LINKS_MS = {"near": (0.3, 0.3, 0.3, 0.3), "demo": (4.0, 12.0, 2.0, 0.5), "far": (5.0, 20.0, 50.0, 80.0)}
ARMS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "target-only baseline": ("target_only", {}),
    "fixed": ("distributed", {"scheduler": "fixed", "draft_selection": "arrival"}),
    "gradient": ("distributed", {"scheduler": "gradient", "draft_selection": "arrival"}),
    "time_aware": ("distributed", {}),
}
NUM_TOKENS = 96


def scenario(arm: str, links: str, logs: Sequence[Path], seconds: float) -> Scenario:
    mode, core = ARMS[arm]
    tiers = [
        {
            "name": f"client{i}",
            "count": 1,
            "mode": mode,
            "link": {"rtt_ms": rtt_ms, "jitter": 0.1},
            "latency": {"linear": {"base_s": 0.0002, "token_s": 0.0}},
            "acceptance": {"model": "trace", "trace": {"file": str(log)}},
            "workload": {
                "closed": {"think_s": 0.0},
                "answer": {"distribution": "fixed", "fixed": {"num_tokens": NUM_TOKENS}},
            },
        }
        for i, (rtt_ms, log) in enumerate(zip(LINKS_MS[links], logs, strict=True))
    ]
    latency = {"linear": {"base_s": 0.0138, "token_s": 0.00046}}
    verifier = {"kv_capacity": 40_000, "latency": latency, "core": {"budget": 24, **core}}
    return scenario_of({"duration_s": seconds, "drafters": tiers, "verifiers": [verifier]})


def goodputs(simulated_scenario: Scenario, seed: int) -> list[float]:
    """Tokens per second of each client, over its complete answers."""
    result = simulate(simulated_scenario, seed)
    tokens: dict[str, int] = {}
    for answer in result.answers:
        tokens[answer.client] = tokens.get(answer.client, 0) + answer.num_answer_tokens
    return [tokens[client] / result.simulated_s for client in sorted(tokens)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", type=Path, nargs=4, help="acceptance traces, one for each client")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=40.0, help="simulated seconds")
    args = parser.parse_args()
    print("| links | arm | tokens/s of the clients | geometric mean relative to the baseline |\n|---|---|---|---|")
    for links in LINKS_MS:
        baseline: list[float] = []
        for arm in ARMS:
            found = [goodputs(scenario(arm, links, args.logs, args.seconds), seed) for seed in range(args.seeds)]
            utilities = [sum(map(math.log, values)) / len(values) for values in found]
            baseline = baseline or utilities
            ratios = [
                math.exp(utility - baseline_utility)
                for utility, baseline_utility in zip(utilities, baseline, strict=True)
            ]
            shown = " ".join(f"{sum(column) / len(column):.1f}" for column in zip(*found, strict=True))
            mean = math.prod(ratios) ** (1 / len(ratios))
            print(f"| {links} | {arm} | {shown} | {mean:.3f} ({min(ratios):.3f}-{max(ratios):.3f}) |", flush=True)


if __name__ == "__main__":
    main()

"""The estimated speed-up in the simulator, beside long prompts, compared with the true one.

Users send prompts of 100 to 4,000 tokens and read answers of 100 tokens. A run without drafts must be estimated as 1:
the smallest and largest of the seeds, and of single answers. A run with drafts (a fixed split, links of 2 ms) is
compared with the run without drafts, over the requests that both have answered. Five minutes.

    python -m runs.baseline_estimate
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from goodspeed.simulator.scenario import Scenario, scenario_of
from goodspeed.simulator.world import simulate

CPU = {"linear": {"base_s": 0.012, "token_s": 0.0005, "stream_s": 0.001}}
GPU = {"kind": "roofline", "roofline": {"shape": "llama-3.1-8b", "device": "h100_sxm"}}
CLOSED = {"closed": {"think_s": 0.5}}
SHORT = {"distribution": "uniform", "uniform": {"low": 10, "high": 40}}
LONG = {"distribution": "uniform", "uniform": {"low": 100, "high": 4000}}
SETUPS: dict[str, dict[str, Any]] = {
    "CPU, 4 clients, short prompts": {"latency": CPU, "clients": 4, "workload": CLOSED, "prompt": SHORT},
    "CPU, 4 clients": {"latency": CPU, "clients": 4, "workload": CLOSED},
    "CPU, 4 clients, no pauses": {"latency": CPU, "clients": 4, "workload": {"closed": {"think_s": 0.0}}},
    "CPU, 4 clients, open loop": {
        "latency": CPU,
        "clients": 4,
        "workload": {"arrivals": "poisson", "poisson": {"rate": 0.05}},
    },
    "CPU, 4 clients, memory for 2": {"latency": CPU, "clients": 4, "workload": CLOSED, "kv": 8_500},
    "CPU, 4 clients, batches of 2": {
        "latency": CPU,
        "clients": 4,
        "workload": CLOSED,
        "core": {"max_batch_streams": 2},
    },
    "GPU, 16 clients": {"latency": GPU, "clients": 16, "workload": CLOSED, "core": {"prefill_chunk": 512}},
    "GPU, 64 clients": {"latency": GPU, "clients": 64, "workload": CLOSED, "core": {"prefill_chunk": 512}},
    "GPU, 64 clients, open loop": {
        "latency": GPU,
        "clients": 64,
        "workload": {"arrivals": "poisson", "poisson": {"rate": 0.1}},
        "core": {"prefill_chunk": 512},
    },
}


def scenario(setup: Mapping[str, Any], mode: str, seconds: float) -> Scenario:
    tier = {
        "count": setup["clients"],
        "mode": mode,
        "link": {"rtt_ms": 2.0},
        "acceptance": {"model": "markov"},
        "latency": {"linear": {"base_s": 0.0002, "token_s": 0.0}},
        "workload": {
            **setup["workload"],
            "prompt": setup.get("prompt", LONG),
            "answer": {"distribution": "fixed", "fixed": {"num_tokens": 100}},
        },
    }
    verifier = {
        "kv_capacity": setup.get("kv", 1_000_000),
        "latency": setup["latency"],
        "core": {"scheduler": "fixed", **setup.get("core", {})},
    }
    return scenario_of({"duration_s": seconds, "drafters": [tier], "verifiers": [verifier]})


Times = tuple[float, float]
"""The estimated baseline of an answer, and the time that it took."""


def answers(setup: Mapping[str, Any], mode: str, seconds: float, seed: int) -> dict[tuple[str, int], Times]:
    """The answers whose baseline is known, by client and request."""
    result = simulate(scenario(setup, mode, seconds), seed)
    return {
        (answer.client, answer.request): (answer.baseline_s, answer.elapsed_s)
        for answer in result.answers
        if answer.baseline_s is not None and answer.elapsed_s is not None
    }


def estimated(found: Iterable[Times]) -> float:
    """The speed-up as responses report it, over all answers."""
    baseline_s, elapsed_s = map(sum, zip(*found, strict=True))
    return float(baseline_s / elapsed_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=120.0)
    args = parser.parse_args()
    print(
        "| set-up | target-only: estimated | worst answer | drafted: estimated / true | true |\n|---|---|---|---|---|"
    )
    for name, setup in SETUPS.items():
        target_only_speed_ups, worst, ratios, true_speed_ups = [], [], [], []
        for seed in range(args.seeds):
            target_only = answers(setup, "target_only", args.seconds, seed)
            drafted = answers(setup, "distributed", args.seconds, seed)
            target_only_speed_ups.append(estimated(target_only.values()))
            worst += [estimated([answer]) for answer in target_only.values()]
            both = target_only.keys() & drafted.keys()
            true = sum(target_only[key][1] for key in both) / sum(drafted[key][1] for key in both)
            ratios.append(estimated(drafted[key] for key in both) / true)
            true_speed_ups.append(true)
        cells = [_range(of) for of in (target_only_speed_ups, worst, ratios, true_speed_ups)]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.3f} to {max(values):.3f}"


if __name__ == "__main__":
    main()

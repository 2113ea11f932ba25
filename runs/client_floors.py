"""The poorest client beside its own target-only goodput, in random setups of unlike clients, simulated.

Two to five clients with round trips of 0.3 to 80 ms, drafts of 0.2 to 8 ms a token, acceptance of .2 to .9 and
co-located acceptance of .1 to .7, on one of three engines: 13.8 ms a step and 0.46 ms a token (two CPU cores), 20 +
0.05 ms, 7 + 0.02 ms. Goodput is tokens over answer time; the first third of the run is left out. Five minutes; no
model.

    python -m runs.client_floors
"""

import argparse
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from goodspeed.experiment.metrics import latency_s
from goodspeed.simulator.scenario import Scenario, scenario_of
from goodspeed.simulator.world import simulate

ENGINES = {"CPU": (0.0138, 0.00046), "70B on a GPU": (0.020, 0.00005), "8B on a GPU": (0.007, 0.00002)}
NUM_TOKENS = 60
WARM_UP = 1 / 3


@dataclass(frozen=True, slots=True)
class FloorCase:
    """A setup, drawn from a seed."""

    engine: str
    tiers: tuple[dict[str, Any], ...]

    @classmethod
    def draw(cls, seed: int) -> "FloorCase":
        rng = np.random.default_rng(seed)
        tiers = tuple(_tier(number, rng) for number in range(int(rng.integers(2, 6))))
        return cls(list(ENGINES)[int(rng.integers(len(ENGINES)))], tiers)

    def scenario(self, mode: str, seconds: float) -> Scenario:
        base_s, token_s = ENGINES[self.engine]
        verifier = {"latency": {"linear": {"base_s": base_s, "token_s": token_s}}}
        return scenario_of({"duration_s": seconds, "mode": mode, "drafters": list(self.tiers), "verifiers": [verifier]})


def _tier(number: int, rng: np.random.Generator) -> dict[str, Any]:
    return {
        "name": f"client{number}",
        "link": {"rtt_ms": float(np.exp(rng.uniform(math.log(0.3), math.log(80.0)))), "jitter": 0.1},
        "latency": {"linear": {"base_s": float(rng.choice([0.0002, 0.001, 0.004, 0.008])), "token_s": 0.0}},
        "acceptance": {"fixed": {"rate": float(rng.uniform(0.2, 0.9))}},
        "co_located_acceptance": {"fixed": {"rate": float(rng.uniform(0.1, 0.7))}},
        "workload": {
            "closed": {"think_s": 0.0},
            "answer": {"distribution": "fixed", "fixed": {"num_tokens": NUM_TOKENS}},
        },
    }


def goodputs(scenario: Scenario, seed: int) -> dict[str, float]:
    """Tokens per second of answer time, by client."""
    times: dict[str, list[float]] = {}
    for answer in simulate(scenario, seed).answers:
        if answer.finished_s > WARM_UP * scenario.duration_s:
            times.setdefault(answer.client, []).append(latency_s(answer))
    return {client: NUM_TOKENS / float(np.mean(found)) for client, found in sorted(times.items())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=90.0, help="simulated seconds")
    args = parser.parse_args()
    print("| case | engine | clients | geometric mean | poorest client | its RTT, drafting, acceptance, co-located |")
    print("|---|---|---|---|---|---|")
    for seed in range(args.cases):
        case = FloorCase.draw(seed)
        base = goodputs(case.scenario("target_only", args.seconds), seed)
        found = goodputs(case.scenario("distributed", args.seconds), seed)
        ratios = {client: found[client] / base[client] for client in found.keys() & base.keys()}
        poorest = min(ratios, key=lambda client: ratios[client])
        tier = case.tiers[int(poorest.removeprefix("client").split("-")[0])]
        mean = math.exp(float(np.mean(np.log(list(ratios.values())))))
        kind = (
            f"{tier['link']['rtt_ms']:.1f} ms, {tier['latency']['linear']['base_s'] * 1e3:g} ms, "
            f"{tier['acceptance']['fixed']['rate']:.2f}, {tier['co_located_acceptance']['fixed']['rate']:.2f}"
        )
        row = f"{seed} | {case.engine} | {len(ratios)} | {mean:.2f} | {ratios[poorest]:.2f} | {kind}"
        print(f"| {row} |", flush=True)


if __name__ == "__main__":
    main()

"""Simulate a scenario from Python: does drafting pay for a laptop at 5, 20 or 80 ms?

python examples/scenario.py
"""

from goodspeed.simulator.scenario import Scenario, scenario_of
from goodspeed.simulator.world import simulate

DURATION_S = 60.0


def scenario(mode: str, rtt_ms: float) -> Scenario:
    """One verifier (20 ms per step and 0.2 ms per token) and four laptops. The keys are those of a scenario file."""
    verifier = {"name": "box", "latency": {"linear": {"base_s": 0.020, "token_s": 0.0002}}}
    laptops = {
        "name": "laptop",
        "count": 4,
        "link": {"rtt_ms": rtt_ms, "jitter": 0.2},
        "latency": {"linear": {"base_s": 0.002, "token_s": 0.0}},  # a draft token takes 2 ms
        "acceptance": {"model": "fixed", "fixed": {"rate": 0.8}},
        "workload": {"closed": {"think_s": 2.0}},
    }
    return scenario_of({"duration_s": DURATION_S, "mode": mode, "verifiers": [verifier], "drafters": [laptops]})


def tokens_per_second(mode: str, rtt_ms: float) -> float:
    """Goodput of all answers, with the same seed and so the same requests for each scenario."""
    run = simulate(scenario(mode, rtt_ms), seed=1)
    return sum(answer.num_answer_tokens for answer in run.answers) / DURATION_S


def main() -> None:
    print("RTT    baseline  drafting")
    for rtt_ms in (5.0, 20.0, 80.0):
        baseline, drafting = (tokens_per_second(mode, rtt_ms) for mode in ("target_only", "distributed"))
        print(f"{rtt_ms:3.0f} ms {baseline:9.0f} {drafting:9.0f}  tokens/s")


if __name__ == "__main__":
    main()

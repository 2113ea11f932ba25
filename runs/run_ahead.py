"""Goodput with and without run-ahead, its hit rate and its waste: one far client with slow drafts.

Simulated, with target steps of 20 ms (70B on an H200) and 7 ms (8B on an H100), 0.05 ms a token. `fixed`: the verifier
always waits for proposals of up to 8 tokens, which the drafter's window shortens. `time_aware`: the default, which goes
on by itself where waiting does not pay. Gains are beside `never` with the same seed: mean, and standard error over the
seeds. `hits` are the proposals past which was drafted and whose verdict committed only drafted tokens; `in vain` is the
share of all drafted tokens (proposals included) that were drafted ahead and dropped. Ten minutes; no model.

    python -m runs.run_ahead
"""

import argparse
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from goodspeed.simulator.result import RunResult
from goodspeed.simulator.scenario import Scenario, scenario_of
from goodspeed.simulator.world import simulate

RTTS_MS = (20.0, 50.0)
STEPS_MS = (20.0, 7.0)
ACCEPTANCE_RATES = (0.6, 0.8, 0.9)
SCHEDULERS: Mapping[str, Mapping[str, Any]] = {
    "fixed": {"scheduler": "fixed", "budget": 8, "draft_selection": "arrival"},
    "time_aware": {},
}
ARMS = ("never", "auto", "always")


def scenario(core: Mapping[str, Any], link_and_step_ms: tuple[float, float], rate: float, **tier: Any) -> Scenario:
    """`tier` has the other keys of the drafter tier."""
    rtt_ms, step_ms = link_and_step_ms
    drafters = {
        "link": {"rtt_ms": rtt_ms, "jitter": 0.1},
        "acceptance": {"fixed": {"rate": rate}},
        "workload": {
            "closed": {"think_s": 0.0},
            "prompt": {"distribution": "fixed", "fixed": {"num_tokens": 50}},
            "answer": {"distribution": "fixed", "fixed": {"num_tokens": 200}},
        },
        **tier,
    }
    latency = {"linear": {"base_s": step_ms / 1e3, "token_s": 0.00005}}
    return scenario_of({"duration_s": 60.0, "drafters": [drafters], "verifiers": [{"latency": latency, "core": core}]})


def goodput(result: RunResult) -> float:
    """Tokens per second of complete answers, while they were written."""
    num_tokens = sum(answer.num_answer_tokens for answer in result.answers)
    return num_tokens / sum(answer.finished_s - answer.requested_s for answer in result.answers)


def hit_rate(results: Sequence[RunResult]) -> str:
    num_hits = sum(result.run_ahead.num_hits for result in results)
    num_verdicts = num_hits + sum(result.run_ahead.num_misses for result in results)
    return f"{num_hits / num_verdicts:.2f}" if num_verdicts else "off"


def wasted(results: Sequence[RunResult]) -> float:
    """Share of the drafted tokens that were drafted past a proposal and dropped."""
    num_ahead = sum(result.run_ahead.num_drafted for result in results)
    num_used = sum(result.run_ahead.num_used for result in results)
    num_proposed = sum(answer.num_proposed for result in results for answer in result.answers)
    num_others = num_proposed - num_used
    return (num_ahead - num_used) / max(1, num_ahead + num_others)


def show_setup(name: str, scenarios: Mapping[str, Scenario], seeds: Sequence[int]) -> None:
    """A row for each arm; the first one is what the others are compared with."""
    without: list[float] = []
    for arm, simulated_scenario in scenarios.items():
        results = [simulate(simulated_scenario, seed) for seed in seeds]
        goodputs = [goodput(result) for result in results]
        without = without or goodputs
        gains = np.array(goodputs) / np.array(without) - 1.0
        error = gains.std(ddof=1) / np.sqrt(len(seeds))
        gain = f"{gains.mean():+.1%} +- {error:.1%}" if arm != ARMS[0] else ""
        print(
            f"| {name} | {arm} | {np.mean(goodputs):.1f} | {gain} | {hit_rate(results)} | {wasted(results):.0%} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--schedulers", nargs="+", default=list(SCHEDULERS), choices=list(SCHEDULERS))
    parser.add_argument("--steps-ms", type=float, nargs="+", default=STEPS_MS)
    parser.add_argument("--rtts-ms", type=float, nargs="+", default=RTTS_MS)
    parser.add_argument("--rates", type=float, nargs="+", default=ACCEPTANCE_RATES)
    parser.add_argument("--draft-ms", type=float, default=10.0, help="drafting time of a token")
    args = parser.parse_args()
    print("| scheduler | step, ms | RTT, ms | acceptance | run-ahead | tokens/s | gain | hits | in vain |")
    print("|---|---|---|---|---|---|---|---|---|")
    latency = {"linear": {"base_s": args.draft_ms / 1e3, "token_s": 0.0}}
    for scheduler, step_ms, rtt_ms, rate in itertools.product(args.schedulers, args.steps_ms, args.rtts_ms, args.rates):
        core = SCHEDULERS[scheduler]
        scenarios = {arm: scenario(core, (rtt_ms, step_ms), rate, run_ahead=arm, latency=latency) for arm in ARMS}
        show_setup(f"{scheduler} | {step_ms:g} | {rtt_ms:g} | {rate}", scenarios, range(args.seeds))


if __name__ == "__main__":
    main()

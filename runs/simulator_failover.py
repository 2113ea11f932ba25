"""Cost of a verifier outage: the delay of each answer relative to the same answer without the outage, simulated.

In configs/scenarios/phone_fleet.toml one of two verifiers is down from 90 to 100 s. Both runs have the same requests,
acceptance and random links, under three routing policies. Results are deterministic. Four minutes; no model.

    python -m runs.simulator_failover
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from goodspeed.simulator.outage import VerifierOutage
from goodspeed.simulator.result import AnswerRecord
from goodspeed.simulator.scenario import Scenario, read_scenario
from goodspeed.simulator.world import simulate

SCENARIO = Path("configs/scenarios/phone_fleet.toml")
ROUTINGS = ("failover", "power_of_two", "jsq")

Answers = Mapping[tuple[str, int], AnswerRecord]
"""Answers by client and request."""


@dataclass(slots=True)
class Delays:
    """Delays of answers in seconds, over all seeds."""

    in_progress: list[float] = field(default_factory=list)  # answers in progress at the failed verifier
    during_outage: list[float] = field(default_factory=list)
    num_there: int = 0  # later answers that the recovered verifier completed
    num_elsewhere: int = 0
    num_failed: int = 0

    def add(self, undisturbed: Answers, disturbed: Answers, outage: VerifierOutage, failed_verifier: str) -> None:
        """Add the answers of one seed."""
        down_s, up_s = outage.start_s, outage.start_s + outage.duration_s
        for key in undisturbed.keys() & disturbed.keys():
            before, after = undisturbed[key], disturbed[key]
            assert before.num_answer_tokens == after.num_answer_tokens
            delay_s = after.finished_s - before.finished_s
            if before.verifier == failed_verifier and before.requested_s < down_s < before.finished_s:
                self.in_progress.append(delay_s)
            elif down_s <= before.requested_s < up_s:
                self.during_outage.append(delay_s)
        ends = [answer.verifier for answer in disturbed.values() if answer.requested_s > up_s]
        self.num_there += ends.count(failed_verifier)
        self.num_elsewhere += len(ends) - ends.count(failed_verifier)

    def show(self, routing: str) -> None:
        in_progress, during = np.array(self.in_progress), np.array(self.during_outage)
        print(
            f"| {routing} | {len(in_progress)} | {np.mean(in_progress):.2f}, {np.max(in_progress):.2f} "
            f"| {len(during)} | {np.mean(during):.2f}, {np.max(during):.2f} "
            f"| {self.num_there}, {self.num_elsewhere} | {self.num_failed} |",
            flush=True,
        )


def measure(scenario: Scenario, num_seeds: int) -> Delays:
    """Simulate with and without the outage for each seed."""
    (tier,) = scenario.verifiers
    (outage,) = tier.outages
    undisturbed = replace(scenario, verifiers=(replace(tier, outages=()),))
    delays = Delays()
    for seed in range(num_seeds):
        runs = [simulate(variant, seed) for variant in (undisturbed, scenario)]
        before, after = ({(answer.client, answer.request): answer for answer in run.answers} for run in runs)
        delays.add(before, after, outage, f"{tier.name}-{outage.index}")
        delays.num_failed += runs[1].num_failed
    return delays


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    print(
        "| routing | answers in progress | delay in s: mean, max | requests during the outage | delay in s: mean, max "
        "| later answers there, elsewhere | failed |\n|---|---|---|---|---|---|---|"
    )
    scenario = read_scenario(SCENARIO)
    for routing in ROUTINGS:
        measure(replace(scenario, routing=routing), args.seeds).show(routing)


if __name__ == "__main__":
    main()

"""What a verifier's death costs: each answer in a run with an outage against the same answer in the run without.

    python -m runs.simulator_failover [--seeds 3]

configs/scenarios/phone_fleet.toml, in which one of two verifiers is dead from 90 to 100 s, under three ways to choose
among verifiers. Requests, acceptance and links' luck are the same in both runs. Figures are the same everywhere; about
4 minutes on one core.
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
"""By client and request."""


@dataclass(slots=True)
class Delays:
    """Seconds by which answers came later, over all seeds."""

    hit: list[float] = field(default_factory=list)  # the dead verifier was answering them
    asked_meanwhile: list[float] = field(default_factory=list)
    num_after: int = 0  # answers that the dead one ended after it was back
    num_after_other: int = 0
    num_failed: int = 0

    def add(self, calm: Answers, troubled: Answers, outage: VerifierOutage, dead: str) -> None:
        """Of one seed."""
        died_s, back_s = outage.start_s, outage.start_s + outage.duration_s
        for key in calm.keys() & troubled.keys():
            before, after = calm[key], troubled[key]
            assert before.num_answer_tokens == after.num_answer_tokens
            delay_s = after.finished_s - before.finished_s
            if before.verifier == dead and before.requested_s < died_s < before.finished_s:
                self.hit.append(delay_s)
            elif died_s <= before.requested_s < back_s:
                self.asked_meanwhile.append(delay_s)
        ends = [answer.verifier for answer in troubled.values() if answer.requested_s > back_s]
        self.num_after += ends.count(dead)
        self.num_after_other += len(ends) - ends.count(dead)

    def show(self, routing: str) -> None:
        hit, asked = np.array(self.hit), np.array(self.asked_meanwhile)
        print(
            f"| {routing} | {len(hit)} | {np.mean(hit):.2f}, {np.max(hit):.2f} | {len(asked)} | {np.mean(asked):.2f}, "
            f"{np.max(asked):.2f} | {self.num_after}, {self.num_after_other} | {self.num_failed} |",
            flush=True,
        )


def measure(scenario: Scenario, num_seeds: int) -> Delays:
    """Both runs for each seed."""
    (tier,) = scenario.verifiers
    (outage,) = tier.outages
    calm = replace(scenario, verifiers=(replace(tier, outages=()),))
    delays = Delays()
    for seed in range(num_seeds):
        runs = [simulate(one, seed) for one in (calm, scenario)]
        before, after = ({(answer.client, answer.request): answer for answer in run.answers} for run in runs)
        delays.add(before, after, outage, f"{tier.name}-{outage.index}")
        delays.num_failed += runs[1].num_failed
    return delays


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    print(
        "| routing | answers that it hit | later by s: mean, most | asked meanwhile | later by s: mean, most "
        "| answered afterwards there, elsewhere | failed |\n|---|---|---|---|---|---|---|"
    )
    scenario = read_scenario(SCENARIO)
    for routing in ROUTINGS:
        measure(replace(scenario, routing=routing), args.seeds).show(routing)


if __name__ == "__main__":
    main()

"""Networks that stand in for AWC's, in simulated runs."""

from dataclasses import replace

import numpy as np

from goodspeed.awc.collector import AWC
from goodspeed.awc.recording import ExploringNetwork, sampled_rows
from goodspeed.awc.scenarios import SamplingConfig, random_scenario
from goodspeed.simulator.acceptance.fixed import FixedConfig
from goodspeed.simulator.acceptance.models import AcceptanceConfig
from goodspeed.simulator.world import simulate
from goodspeed.windows.awc.features import INPUTS
from goodspeed.windows.awc.policy import AwcConfig, AwcWindow
from goodspeed.windows.policies import WindowConfig

ACCEPTANCE = INPUTS.index("recent_acceptance")


class FewProposals(ExploringNetwork):
    """The local mode after four decisions."""

    def window(self, vector: np.ndarray[tuple[int], np.dtype[np.float32]]) -> float:
        self.vectors.append(vector)
        return 4.0 if len(self.vectors) <= 4 else 1.0


def test_later_streams_of_a_link_know_what_was_accepted_before() -> None:
    """A stream in the local mode proposes nothing, so it could not measure its own acceptance."""
    wrong = AcceptanceConfig("fixed", FixedConfig(0.0))
    scenario = random_scenario(SamplingConfig(seed=30, measured_share=0.0, num_rounds=1), 0)
    tiers = tuple(replace(tier, acceptance=wrong) for tier in scenario.drafters)
    networks: list[FewProposals] = []

    def window_of(client: str, config: WindowConfig) -> AwcWindow:  # noqa: ARG001
        networks.append(FewProposals(1, np.random.default_rng(0)))
        return AwcWindow(config.max_tokens, AwcConfig(), networks[-1])

    run = simulate(AWC.of(replace(scenario, duration_s=4.0, drafters=tiers)), window_of=window_of)
    assert len(run.answers) > 2 * len(networks)
    for network in networks:
        assert network.vectors[0][ACCEPTANCE] == 1.0
        assert {float(vector[ACCEPTANCE]) for vector in network.vectors[-50:]} == {0.0}
    assert sum(answer.num_target_only_rounds for answer in run.answers) > 10 * len(networks)


def test_rows_are_spread_over_the_settled_part_of_a_run() -> None:
    vectors = [np.full(15, number, dtype=np.float32) for number in range(100)]
    rows = sampled_rows({0: vectors, 1: [], 2: vectors[:1]}, 4)
    assert rows.clients.tolist() == [0, 0, 0, 0, 2]
    assert rows.features[:, 0].tolist() == [40.0, 59.0, 79.0, 99.0, 0.0]

"""Small scenarios for tests, as the values of a TOML file."""

from collections.abc import Mapping
from typing import Any

from goodspeed.simulator.scenario import Scenario, scenario_of

EQUAL_SPLIT = {"scheduler": "fixed"}


def drafter_tier(name: str = "drafter", **values: Any) -> dict[str, Any]:
    """A drafter tier with round trips of 20 ms, whose users think for half a second."""
    defaults = {
        "name": name,
        "count": 4,
        "link": {"rtt_ms": 20.0},
        "latency": {"linear": {"base_s": 0.004, "token_s": 0.0}},
        "workload": {"closed": {"think_s": 0.5}},
    }
    return {**defaults, **values}


def small_scenario(*tiers: Mapping[str, Any], **values: Any) -> Scenario:
    """Ten seconds with one verifier by default, which splits its budget equally: no stream becomes target-only."""
    defaults = {"duration_s": 10.0, "drafters": list(tiers) or [drafter_tier()], "verifiers": [{"core": EQUAL_SPLIT}]}
    return scenario_of({**defaults, **values})


def single_stream(mode: str, rate: float, window: int, draft_s: float, num_tokens: int) -> Scenario:
    """One drafter without network delay and run-ahead, and an answer of `num_tokens`; a target step takes 10 ms."""
    tier = drafter_tier(
        count=1,
        run_ahead="never",
        link={},
        latency={"linear": {"base_s": draft_s, "token_s": 0.0}},
        window={"policy": "fixed", "max_tokens": window},
        acceptance={"fixed": {"rate": rate}},
        workload={
            "closed": {"think_s": 1e6, "think_distribution": "fixed"},
            "prompt": {"distribution": "fixed", "fixed": {"num_tokens": 4}},
            "answer": {"distribution": "fixed", "fixed": {"num_tokens": num_tokens}},
        },
    )
    verifier = {
        "max_context": 10**6,
        "kv_capacity": 10**6,
        "latency": {"linear": {"base_s": 0.01, "token_s": 0.0}},
        "core": {"scheduler": "fixed", "budget": window},
    }
    return small_scenario(tier, verifiers=[verifier], mode=mode, duration_s=1e6 + num_tokens)


DRAFTERS_PER_VERIFIER = 50
POLICIES = {
    "static": ({"scheduler": "fixed", "estimator": "censored"}, {"policy": "fixed", "max_tokens": 4}),
    "price": ({"scheduler": "price", "estimator": "censored"}, {}),
    "default": ({}, {}),
}
"""Configurations of (verifier core, drafter window). `static`: equal split and windows of 4, DSD's baseline."""


def fleet(num_drafters: int, seconds: float, policy: str) -> Scenario:
    """A fleet with one verifier per DRAFTERS_PER_VERIFIER drafters, under one of the POLICIES."""
    core, window = POLICIES[policy]
    tier = {
        "count": num_drafters,
        "link": {"rtt_ms": 20.0, "jitter": 0.1},
        "latency": {"linear": {"base_s": 0.010, "token_s": 0.0001}},
        "workload": {"closed": {"think_s": 2.0}},
        "window": window,
    }
    verifier = {
        "count": max(1, num_drafters // DRAFTERS_PER_VERIFIER),
        "kv_capacity": 200_000,
        "latency": {"linear": {"base_s": 0.020, "token_s": 0.00005}},
        "core": {"budget": 200, "prefill_chunk": 256, **core},
    }
    return scenario_of({"duration_s": seconds, "drafters": [tier], "verifiers": [verifier]})


TROUBLED = small_scenario(
    drafter_tier("laptop", link={"rtt_ms": 20.0, "jitter": 0.3, "loss": 0.02, "bandwidth_mbps": 10.0}),
    drafter_tier("phone", count=2, cuts=[{"start_s": 3.0, "duration_s": 1.5}], acceptance={"model": "markov"}),
    drafter_tier("far", count=2, mode="target_only", workload={"arrivals": "poisson", "poisson": {"rate": 1.0}}),
    verifiers=[
        {
            "count": 2,
            "kv_capacity": 1000,
            "core": {"budget": 6, "scheduler": "gradient"},
            "outages": [{"start_s": 5.0, "duration_s": 1.5, "index": 1}, {"start_s": 8.0, "duration_s": 0.5}],
        }
    ],
)
"""Losses, a target-only tier, network cuts and verifier outages: exercises most of the protocol."""

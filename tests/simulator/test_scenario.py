"""Wrong scenarios are refused with an error that names the key."""

from pathlib import Path
from typing import Any

import pytest

from goodspeed.config import read_toml
from goodspeed.errors import ConfigError
from goodspeed.simulator.scenario import Scenario, read_scenario, scenario_of
from goodspeed.simulator.world import simulate
from goodspeed.testing.scenarios import drafter_tier, small_scenario


def tier(**values: Any) -> dict[str, Any]:
    return {"drafters": [values]}


def down(*outages: dict[str, Any]) -> dict[str, Any]:
    """Outages of two verifiers, by default at 1 s for 2 s."""
    times = [{"start_s": 1.0, "duration_s": 2.0, **outage} for outage in outages]
    return {"verifiers": [{"name": "box", "count": 2, "outages": times}]}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"durations": 5.0}, "unknown key 'durations'; did you mean 'duration_s'"),
        (tier(lnk={}), r"unknown key 'drafters\[0\].lnk'; did you mean 'link'"),
        (tier(link={"rtt": 5.0}), r"unknown key 'drafters\[0\].link.rtt'; did you mean 'rtt_ms'"),
        ({"verifiers": [{"core": {"sheduler": "price"}}]}, "did you mean 'scheduler'"),
        ({"duration_s": -1.0}, "duration_s is -1.0, expected more than 0"),
        (tier(count=0), "count is 0, expected 1 or more"),
        (tier(link={"rtt_ms": -5.0}), "rtt_ms is -5.0, expected 0"),
        (tier(workload={"poisson": {"rate": -1.0}}), "poisson.rate is -1.0, expected more than 0"),
        (tier(link={"bandwidth_mbps": 0}), r"drafters\[0\].link.bandwidth_mbps is 0: nothing would ever arrive"),
        (tier(shared={"up_mbps": 0.0}), "up_mbps is 0: nothing would ever arrive"),
        (tier(verifiers=["verifer"]), "cannot reach a verifier tier 'verifer'; did you mean 'verifier'"),
        (tier(link={"outages": [{"start_s": 0.0, "duration_s": 999.0}]}), "reach no verifier: an outage"),
        (tier(cuts=[{"start_s": -1.0, "duration_s": 1.0}]), r"cuts\[0\].start_s is -1.0, expected 0 or more"),
        (down({"start_s": -1.0}), r"verifiers\[0\].outages\[0\].start_s is -1.0, expected 0 or more"),
        (down({"duration_s": 0.0}), r"verifiers\[0\].outages\[0\].duration_s is 0.0, expected more than 0"),
        (down({"index": 2}), "outages.index is 2, expected 0 to 1: 'box' has 2"),
        (
            down({"index": 1}, {"index": 1, "start_s": 3.0}),
            "outages of box-1: one starts at 3 s, before the end of that which starts at 1 s",
        ),
        (down({"strt_s": 1.0}), r"unknown key 'verifiers\[0\].outages\[0\].strt_s'; did you mean 'start_s'"),
        (
            down(*({"start_s": 0.0, "duration_s": 60.0, "index": index} for index in (0, 1))),
            "drafters 'drafter' reach no verifier: all are down",
        ),
        (
            tier(mode="target_onyl"),
            "mode is 'target_onyl', expected one of distributed, target_only, co_located; did you mean 'target_only'",
        ),
        ({"mode": "fused"}, "mode is 'fused', which is called 'target_only' now"),
        ({"machine": {"chill": 0.1}}, r"unknown key 'machine.chill'; it is called 'machine.cold_cache_penalty' now"),
        (tier(acceptance={"model": "recorded"}), "model is 'recorded', which is called 'trace' now"),
        (
            tier(acceptance={"recorded": {}}),
            r"'drafters\[0\].acceptance.recorded'; it is called .*acceptance.trace' now",
        ),
        (tier(workload={"arrivals": "recorded"}), "arrivals is 'recorded', which is called 'acceptance_trace' now"),
        ({"verifiers": []}, "verifiers is empty, expected one or more values"),
        ({"drafters": [{}, {}]}, "drafters has the name 'drafter' 2 times, expected different names"),
        ({"verifiers": [{"kv_capacity": 0}]}, "kv_capacity is 0, expected 1 or more"),
        (
            {"verifiers": [{"latency": {"kind": "liner"}}]},
            r"latency.kind is 'liner', expected one of .*; did you mean 'linear'",
        ),
    ],
)
def test_wrong_values_raise_an_error_that_names_them(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        scenario_of(values)


def test_a_verifier_too_small_for_the_first_request_is_an_error() -> None:
    lengths = {"distribution": "fixed", "fixed": {"num_tokens": 500}}
    workload = {"closed": {"think_s": 0.1}, "prompt": lengths}
    with pytest.raises(ConfigError, match=r"first request of drafter-\d has 500 prompt tokens .* holds 400 in all"):
        simulate(small_scenario(drafter_tier(workload=workload), verifiers=[{"kv_capacity": 400}]))


def test_a_later_request_that_is_too_long_fails_without_ending_the_run() -> None:
    lengths = {"distribution": "lognormal", "lognormal": {"mean": 60.0, "cv": 1.5}}
    tier = drafter_tier(workload={"closed": {"think_s": 0.1}, "answer": lengths})
    result = simulate(small_scenario(tier, verifiers=[{"kv_capacity": 100_000, "max_context": 500}], duration_s=30.0))
    assert result.num_failed > 0
    assert len(result.answers) > 10


def test_a_trace_whose_bandwidth_falls_to_zero_is_an_error(tmp_path: Path) -> None:
    trace = tmp_path / "link.csv"
    trace.write_text("at_s,rtt_ms,bandwidth_mbps,loss\n0,20,10,0\n5,20,0,0\n")
    with pytest.raises(ConfigError, match="bandwidth_mbps is 0 at 5 s of"):
        simulate(small_scenario(drafter_tier(link={"trace_file": str(trace)})))


def test_a_scenario_file_equals_its_values(tmp_path: Path) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text('duration_s = 5.0\n[[drafters]]\nname = "phone"\ncount = 3\n[drafters.link]\nrtt_ms = 60.0\n')
    assert read_scenario(path) == scenario_of(read_toml(path))
    assert read_scenario(path).drafters[0].link.rtt_ms == 60.0
    assert isinstance(read_scenario(path), Scenario)

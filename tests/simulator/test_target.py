"""The simulated target engine: a cached prefix is context, not work, and memory is counted."""

import pytest

from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.interface import CachedPrefix, Prefill, StreamSpec, Verify
from goodspeed.simulator.latency.linear import LinearConfig
from goodspeed.simulator.target import RIGHT, SimulatedTargetEngine, target_info


def test_a_cached_prefix_is_context_and_no_work() -> None:
    latency = LinearConfig(base_s=1.0, token_s=0.1, context_token_s=0.001)
    target = SimulatedTargetEngine(target_info(kv_capacity=200, max_context=200), latency.model())
    target.open(1, StreamSpec((RIGHT,) * 50, Sampling(), 80))
    target.step([Prefill(1, 50)])
    target.step([Verify(1, ())])
    target.retain(1, 51)
    assert target.kv_tokens == 0  # of open streams
    target.open(2, StreamSpec((RIGHT,) * 60, Sampling(), 80, prefix=CachedPrefix(1, 51)))
    (outcome,) = target.step([Prefill(2, 9)])
    assert outcome.next_token == RIGHT
    assert target.step_s == pytest.approx(1.0 + 0.9 + 0.060)
    assert target.kv_tokens == 60  # what both have counts once
    for stream in (1, 2):
        target.close(stream)
    assert (target.kv_tokens, target.peak_kv_tokens) == (0, 60)

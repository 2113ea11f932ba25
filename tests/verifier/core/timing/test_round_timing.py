"""Where the time of a client's round goes."""

import pytest

from goodspeed.testing.virtual_verifier import VirtualDrafter, VirtualVerifier, open_request, unlimited_info
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.core.timing.round_timing import RoundTiming


def test_the_turnaround_is_divided_into_drafting_and_network() -> None:
    timing = RoundTiming()
    for num_tokens in (2, 8, 5) * 30:
        timing.on_proposal(0.05 + 0.004 * num_tokens, 0.004 * num_tokens, num_tokens, grant=num_tokens)
    assert timing.network_s == pytest.approx(0.05)
    assert timing.drafting_s == pytest.approx(0.004)


def test_reported_drafting_is_cut_to_the_turnaround() -> None:
    timing = RoundTiming()
    timing.on_proposal(0.05, 10.0, 5, grant=5)
    assert (timing.network_s, timing.drafting_s) == pytest.approx((0.0, 0.01))


def test_a_draft_that_ends_early_took_a_step_more_than_it_has_tokens() -> None:
    timing = RoundTiming()
    for num_tokens in (0, 2, 7) * 10:
        timing.on_proposal(0.1, 0.01 * (num_tokens + 1), num_tokens, grant=8)
    timing.on_proposal(0.1, 0.08, 8, grant=8)
    assert timing.drafting_s == pytest.approx(0.01)


def test_a_link_that_becomes_fast_is_noticed_by_a_few_shadow_drafts() -> None:
    """The client's rounds are local, with a shadow draft after every eighth."""
    timing = RoundTiming()
    timing.on_proposal(0.2, 0.0, 4, grant=4)
    for _ in range(8):
        for _ in range(8):
            timing.on_local_round(0.02)
        timing.on_proposal(0.002, 0.0, 4, grant=4)
    assert timing.network_s < 0.004


def test_a_single_stream_expects_no_wait_for_the_steps_of_others() -> None:
    verify_s = []
    for has_neighbours in (True, False):
        timing = RoundTiming()
        timing.on_verdict(0.2, 0.0, 1.0)
        for _ in range(400):
            timing.on_local_round(0.02, has_neighbours)
        verify_s.append(timing.verify_s)
    assert verify_s == pytest.approx([0.03, 0.02], rel=0.01)


def test_the_core_measures_network_drafting_verification_and_co_batched_weight() -> None:
    """Two drafters behind a barrier, where the near one waits for the far one."""
    verifier = VirtualVerifier(VerifierCoreConfig(batching="barrier", scheduler="fixed"), unlimited_info())
    VirtualDrafter(verifier, "near", 0.5, lambda: 0.01, 0.001).open(open_request(1, max_tokens=100_000))
    VirtualDrafter(verifier, "far", 0.5, lambda: 0.1, 0.002).open(open_request(1, max_tokens=100_000))
    verifier.run(30.0)
    near, far = (client.timing for client in verifier.core.stats().clients)
    assert (near.network_s, far.network_s) == pytest.approx((0.01, 0.1), abs=1e-3)
    assert (near.drafting_s, far.drafting_s) == pytest.approx((0.001, 0.002), rel=0.05)
    assert (near.co_batched_weight, far.co_batched_weight) == pytest.approx((2.0, 2.0))
    assert near.verify_s > far.verify_s + 0.08

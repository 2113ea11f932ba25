"""What a step has cost, and why its batch closed when it did."""

from collections import Counter
from functools import partial

from goodspeed.decoding.draft import DraftRequest
from goodspeed.testing.virtual_verifier import VirtualDrafter, VirtualVerifier, open_request
from goodspeed.verifier.core.batch import BatchClose, Turn, num_draft_steps
from goodspeed.verifier.core.core_config import VerifierCoreConfig


def test_a_draft_that_ends_early_has_cost_one_step_more_than_it_has_tokens() -> None:
    turns = [Turn(stream, co_located=DraftRequest(stream, 4)) for stream in range(3)] + [Turn(9)]
    assert num_draft_steps(turns, [(5, 6, 7, 8), (5, 6), (), ()]) == 4 + 3 + 1


def closes(config: VerifierCoreConfig, *networks_s: float) -> Counter[BatchClose]:
    """Why the batches of drafters with these delays closed."""
    verifier = VirtualVerifier(config)
    for i, network_s in enumerate(networks_s):
        VirtualDrafter(verifier, f"drafter {i}", 0.8, partial(float, network_s)).open(open_request(1))
    verifier.run(2.0)
    return Counter(batch.closed_by for batch in verifier.batches if batch.turns)


def test_batches_of_a_single_stream_close_at_once() -> None:
    assert set(closes(VerifierCoreConfig(), 0.002)) == {BatchClose.AT_ONCE}


def test_a_batch_waits_until_the_last_proposal_arrives() -> None:
    barrier = VerifierCoreConfig(scheduler="fixed", batching="barrier", barrier_timeout_s=0.5)
    found = closes(barrier, 0.002, 0.010)
    assert found[BatchClose.ARRIVED] > 1
    assert not found[BatchClose.TIMED_OUT]


def test_a_batch_whose_last_proposal_does_not_come_has_timed_out() -> None:
    barrier = VerifierCoreConfig(scheduler="fixed", batching="barrier", barrier_timeout_s=0.1)
    assert closes(barrier, 0.002, 60.0)[BatchClose.TIMED_OUT] == 1


def test_a_batch_with_as_many_streams_as_it_may_have_is_full() -> None:
    assert set(closes(VerifierCoreConfig(max_batch_streams=1), 0.002, 0.002)) == {BatchClose.FULL}

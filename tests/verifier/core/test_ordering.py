"""Which streams a step verifies when not all fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodspeed.engine.interface import Verify
from goodspeed.errors import ConfigError
from goodspeed.testing.virtual_verifier import (
    VirtualDrafter,
    VirtualVerifier,
    open_request,
    target_only_text,
    unlimited_info,
)
from goodspeed.verifier.core.batching.length_aware import LengthAware
from goodspeed.verifier.core.batching.ordering import OrderingCandidate
from goodspeed.verifier.core.batching.policies import ORDERINGS
from goodspeed.verifier.core.core_config import VerifierCoreConfig

candidates = st.lists(st.integers(0, 4000), min_size=1, max_size=20).map(
    lambda contexts: [OrderingCandidate(context, float(i)) for i, context in enumerate(contexts)]
)


@pytest.mark.parametrize("name", ORDERINGS)
@given(candidates=candidates, bucket=st.integers(1, 500))
def test_an_order_has_every_stream_once_and_the_oldest_first(
    name: str, candidates: list[OrderingCandidate], bucket: int
) -> None:
    order = list(ORDERINGS[name](bucket).order(candidates))
    assert sorted(order) == list(range(len(candidates)))
    assert order[0] == 0  # so that no stream starves


def test_length_aware_takes_the_streams_nearest_to_the_oldest_in_length() -> None:
    contexts = [200, 1000, 70, 220, 190, 400]
    order = LengthAware(64).order([OrderingCandidate(context, float(i)) for i, context in enumerate(contexts)])
    assert list(order) == [0, 3, 4, 2, 5, 1]


def test_length_aware_keeps_the_order_of_arrival_within_a_bucket() -> None:
    order = LengthAware(4096).order([OrderingCandidate(context, float(i)) for i, context in enumerate((9, 3000, 5, 1))])
    assert list(order) == [0, 1, 2, 3]


def generated(config: VerifierCoreConfig, num_streams: int = 7) -> tuple[VirtualVerifier, list[list[int]]]:
    verifier = VirtualVerifier(config, unlimited_info())
    drafter = VirtualDrafter(verifier, "drafter", 0.7)
    for i in range(num_streams):
        drafter.open(open_request(i, range(1, 2 + 40 * i), max_tokens=30))
    verifier.run(60)
    return verifier, [drafter.texts[i] for i in range(num_streams)]


def widest(verifier: VirtualVerifier) -> int:
    return max(sum(isinstance(item, Verify) for item in batch.work) for batch in verifier.steps)


@pytest.mark.parametrize("ordering", ORDERINGS)
@pytest.mark.parametrize("batching", ["deadline", "barrier"])
def test_no_step_verifies_more_streams_than_allowed_and_texts_are_the_same(ordering: str, batching: str) -> None:
    config = VerifierCoreConfig(max_batch_streams=3, ordering=ordering, batching=batching, barrier_timeout_s=0.05)
    verifier, texts = generated(config)
    assert texts == [target_only_text(open_request(i, range(1, 2 + 40 * i), max_tokens=30)) for i in range(7)]
    assert widest(verifier) == 3


def test_without_a_limit_all_ready_streams_are_in_the_step() -> None:
    verifier, _ = generated(VerifierCoreConfig())
    assert widest(verifier) == 7


@pytest.mark.parametrize(("key", "value"), [("max_batch_streams", -1), ("length_bucket", 0)])
def test_values_out_of_range_are_named(key: str, value: int) -> None:
    with pytest.raises(ConfigError, match=key):
        VerifierCoreConfig(**{key: value})  # type: ignore[arg-type]


def test_unknown_ordering_names_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="did you mean 'fifo'"):
        VerifierCoreConfig(ordering="fifi")

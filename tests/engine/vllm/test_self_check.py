"""The self-check of an engine, on the toy model."""

from collections.abc import Sequence

from msgspec.structs import replace

from goodspeed.engine.interface import Outcome, Work
from goodspeed.engine.toy_target import ToyTarget
from goodspeed.engine.vllm.self_check import is_batch_invariant, numerics_fingerprint


class BatchDependent(ToyTarget):
    """Its log-probabilities depend on the number of work items in the step, by one rounding."""

    def step(self, batch: Sequence[Work]) -> list[Outcome]:
        nudge = 1e-6 * (len(batch) - 1)
        return [
            replace(outcome, logprobs=tuple(value - nudge for value in outcome.logprobs))
            for outcome in super().step(batch)
        ]


def test_engine_whose_rounding_depends_on_the_batch_is_found() -> None:
    assert is_batch_invariant(ToyTarget(), -8)
    assert not is_batch_invariant(BatchDependent(), -8)


def test_fingerprint_tells_models_and_precisions_apart() -> None:
    first, again, other = (numerics_fingerprint(ToyTarget(seed=seed), "bf16", -8) for seed in (0, 0, 1))
    assert first == again != other
    assert numerics_fingerprint(ToyTarget(), "fp8", -8) != first


def test_check_leaves_no_stream_open() -> None:
    engine = ToyTarget()
    numerics_fingerprint(engine, "bf16", -8)
    is_batch_invariant(engine, -4)
    assert engine.num_open == 0

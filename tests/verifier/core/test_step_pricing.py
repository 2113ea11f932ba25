"""The sizes that a step may have, and what is learned from those that it had."""

import pytest

from goodspeed.engine.interface import Verify
from goodspeed.scheduling.co_located_length import CoLocatedPrices
from goodspeed.verifier.core.batch import Batch, StepResult, Turn
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.core.draft_budget import DraftBudget
from goodspeed.verifier.core.outbox import VerifierOutbox
from goodspeed.verifier.core.served_streams import ServedStreams
from goodspeed.verifier.core.step_pricing import StepPricing
from goodspeed.verifier.core.timing.step_timing import StepTiming

NUM_STREAMS = 16
TURNS = tuple([Turn(key, co_located=None) for key in range(NUM_STREAMS)])


def make_pricing(config: VerifierCoreConfig) -> tuple[StepPricing, DraftBudget, StepTiming]:
    budget, timing = DraftBudget(config.budget), StepTiming()
    return StepPricing(config, budget, timing, ServedStreams(VerifierOutbox())), budget, timing


def result(num_verified: int, num_drafted: int) -> StepResult:
    """Of a step that verified so many of the tokens drafted for each stream."""
    work = tuple([Verify(turn.stream, (1,) * num_verified) for turn in TURNS])
    return StepResult(work, (), ((1,) * num_drafted,) * NUM_STREAMS)


def after_steps(pricing: StepPricing, timing: StepTiming, num_verified: int, num_drafted: int) -> None:
    for _ in range(50):
        sizes = pricing.sizes(NUM_STREAMS, NUM_STREAMS, 64, CoLocatedPrices())
        batch, outcome = Batch((), TURNS, budget=64, sizes=sizes), result(num_verified, num_drafted)
        timing.on_step(batch, outcome, 0.02)
        pricing.on_step(batch, outcome)


def test_a_step_may_have_each_size_from_no_drafts_to_the_budget() -> None:
    pricing, _, timing = make_pricing(VerifierCoreConfig())
    assert pricing.sizes(NUM_STREAMS, 20, 30, CoLocatedPrices()) == ()
    timing.on_step(Batch((), TURNS), result(1, 1), 0.02)
    sizes = pricing.sizes(NUM_STREAMS, 20, 30, CoLocatedPrices())
    assert [size.num_drafted for size in sizes] == [0, 2, 4, 6, 8, 10, 12, 16, 20, 24, 28, 30]
    assert sizes[0].round_s < sizes[6].round_s == pytest.approx(0.02)


def test_by_survival_a_step_is_as_long_as_it_is_whatever_a_round_takes() -> None:
    """Without prices, as the core passes none, the sizes have the time of the step alone."""
    pricing, _, timing = make_pricing(VerifierCoreConfig(draft_selection="survival"))
    timing.on_step(Batch((), TURNS), result(1, 1), 0.02)
    by_step = pricing.sizes(NUM_STREAMS, 20, 30, CoLocatedPrices())
    by_round = pricing.sizes(NUM_STREAMS, 20, 30, CoLocatedPrices(round_s=0.1))
    assert by_step[6].round_s == pytest.approx(0.02)
    assert by_round[6].round_s == pytest.approx(0.1)


@pytest.mark.parametrize("config", [VerifierCoreConfig(budget=64), VerifierCoreConfig(draft_selection="arrival")])
def test_a_configured_budget_and_selection_by_arrival_take_as_many_as_possible(config: VerifierCoreConfig) -> None:
    pricing, _, timing = make_pricing(config)
    timing.on_step(Batch((), TURNS), result(1, 1), 0.02)
    assert pricing.sizes(NUM_STREAMS, 20, 30, CoLocatedPrices()) == ()


def test_no_more_is_granted_than_steps_of_the_best_size_verify() -> None:
    pricing, budget, timing = make_pricing(VerifierCoreConfig())
    after_steps(pricing, timing, num_verified=1, num_drafted=3)
    assert budget.granted(NUM_STREAMS, timing.step_time) == pytest.approx(NUM_STREAMS, abs=4)


@pytest.mark.parametrize("num_drafted", [0, 1])
def test_a_step_that_verified_all_drafts_says_nothing_about_how_many_pay(num_drafted: int) -> None:
    pricing, budget, timing = make_pricing(VerifierCoreConfig())
    after_steps(pricing, timing, num_drafted, num_drafted)
    assert budget.granted(NUM_STREAMS, timing.step_time) == 64

"""The sizes that a step may have, and what is learned from those that it had."""

import pytest

from goodspeed.engine.interface import Prefill, Verify
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
    # Those of 20 tokens have 4 of a prompt. 32 tokens took 20 ms, so 16 take 10, and 12 more beside 20 add 7.5.
    assert (sizes[0].round_s, sizes[6].round_s) == pytest.approx((0.010, 0.0175))


def test_by_survival_a_step_is_as_long_as_it_is_whatever_a_round_takes() -> None:
    """Without prices, as the core passes none, the sizes have the time of the step alone."""
    pricing, _, timing = make_pricing(VerifierCoreConfig(draft_selection="survival"))
    timing.on_step(Batch((), TURNS), result(1, 1), 0.02)
    by_step = pricing.sizes(NUM_STREAMS, 20, 30, CoLocatedPrices())
    by_round = pricing.sizes(NUM_STREAMS, 20, 30, CoLocatedPrices(round_s=0.1))
    assert by_step[6].round_s == pytest.approx(0.0175)
    assert by_round[6].round_s == pytest.approx(0.1 - 0.02 + 0.0175)


def test_a_prompt_in_the_step_makes_no_round_longer() -> None:
    """Steps of 5 ms a token: 16 streams alone, beside 3 draft tokens, beside a prompt of 100 tokens, beside both."""
    pricing, _, timing = make_pricing(VerifierCoreConfig())
    for num_drafted in (0, 1):
        timing.on_step(Batch((), TURNS), result(num_drafted, num_drafted), 0.005 * NUM_STREAMS * (1 + num_drafted))
    for num_prompt in (100, 116):
        work = (*result(0, 0).work, Prefill(99, num_prompt))
        timing.on_step(Batch((), TURNS), StepResult(work, (), ((),) * NUM_STREAMS), 0.005 * (NUM_STREAMS + num_prompt))
    alone = pricing.sizes(NUM_STREAMS, NUM_STREAMS, NUM_STREAMS, CoLocatedPrices())
    beside_prompt = pricing.sizes(NUM_STREAMS, NUM_STREAMS + 100, NUM_STREAMS, CoLocatedPrices())
    for sizes in (alone, beside_prompt):
        assert (sizes[0].round_s, sizes[-1].round_s) == pytest.approx((0.005 * NUM_STREAMS, 0.010 * NUM_STREAMS), 0.01)


def test_one_step_has_no_drafts_after_many_with_them() -> None:
    pricing, budget, timing = make_pricing(VerifierCoreConfig())
    after_steps(pricing, timing, num_verified=1, num_drafted=3)
    assert pricing.is_trial_due(has_proposals=False)
    assert not pricing.is_trial_due(has_proposals=True)  # their drafters wait for the verdicts
    granted = budget.granted(NUM_STREAMS, timing.step_time)
    sizes = pricing.sizes(NUM_STREAMS, NUM_STREAMS, 64, CoLocatedPrices())
    pricing.on_step(Batch((), TURNS, budget=64, sizes=sizes[:1]), result(0, 3))
    assert not pricing.is_trial_due(has_proposals=False)
    assert budget.granted(NUM_STREAMS, timing.step_time) == granted  # the trial does not say that none pay


def test_the_best_proposed_token_that_a_step_leaves_out_is_the_least_value() -> None:
    """Of three proposals one is verified whole, one is cut after a token, and another draft took one's place."""
    pricing, _, timing = make_pricing(VerifierCoreConfig())
    timing.on_step(Batch((), TURNS), result(1, 1), 0.02)
    proposals = [Turn(key, (5, 6, 7), survival=(0.9, 0.8, 0.7), token_value=0.5) for key in range(3)]
    sizes = pricing.sizes(3, 3, 24, CoLocatedPrices())
    work = (Verify(0, (5, 6, 7)), Verify(1, (5,)), Verify(2, (8, 9)))
    pricing.on_step(Batch((), tuple(proposals), budget=24, sizes=sizes), StepResult(work, (), ((),) * 3))
    assert pricing.least_value == pytest.approx(0.5 * 0.8)
    pricing.on_step(Batch((), TURNS, budget=24, sizes=sizes), result(0, 0))
    assert 0.9 * 0.4 < pricing.least_value < 0.4


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

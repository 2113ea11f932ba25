"""The breakdown of a step."""

import pytest

from goodspeed.simulator.latency.latency_model import StepShape
from goodspeed.simulator.latency.step_breakdown import break_down


def test_a_step_without_prompts_is_all_verification() -> None:
    parts = break_down(StepShape(num_streams=4, num_tokens=12, num_prefill_tokens=0, num_context_tokens=400))
    assert (parts.num_verifying, parts.num_verified_tokens, parts.verify_context) == (4, 12, 100.0)
    assert parts.num_prompts == parts.num_prefill_pairs == 0


def test_a_single_prompt_attends_to_itself_and_to_earlier_chunks() -> None:
    parts = break_down(StepShape(1, 128, 128, 640))
    assert (parts.num_verifying, parts.num_prompts, parts.prefill_context) == (0, 1, 640.0)
    assert parts.num_prefill_pairs == pytest.approx(sum(512 + i + 0.5 for i in range(128)))


def test_streams_beyond_the_tokens_to_verify_are_prompts() -> None:
    parts = break_down(StepShape(num_streams=5, num_tokens=2 + 300, num_prefill_tokens=300, num_context_tokens=1000))
    assert (parts.num_verifying, parts.num_prompts) == (2, 3)
    assert break_down(StepShape(3, 300, 300, 300)).num_prompts == 3


def test_with_proposals_a_single_prompt_is_assumed() -> None:
    parts = break_down(StepShape(num_streams=3, num_tokens=8 + 100, num_prefill_tokens=100, num_context_tokens=900))
    assert (parts.num_verifying, parts.num_verified_tokens, parts.num_prompts) == (2, 8, 1)

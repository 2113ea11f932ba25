"""Simulated prompts are equal where the workload says so, and nowhere else."""

from goodspeed.protocol.session import num_common
from goodspeed.simulator.prompt_text import PromptTexts
from goodspeed.simulator.target import RIGHT
from goodspeed.simulator.workload.workload import TEXT_BLOCK, WorkloadRequest


def test_new_prompts_have_nothing_in_common() -> None:
    texts = [PromptTexts(client) for client in ((0, 0), (0, 1), (1, 0))]
    prompts = [one.prompt(WorkloadRequest(0.0, True, 100, 20)) for one in texts for _ in range(3)]
    assert all(len(prompt) == 100 for prompt in prompts)
    assert all(num_common(a, b) < 12 for i, a in enumerate(prompts) for b in prompts[:i])


def test_the_next_turn_begins_with_prompt_and_answer_of_the_one_before() -> None:
    texts = PromptTexts((0, 0))
    first = texts.prompt(WorkloadRequest(0.0, True, 50, 20))
    second = texts.prompt(WorkloadRequest(0.0, True, 90, 20, is_next_turn=True))
    assert second[:70] == first + (RIGHT,) * 20
    other = texts.prompt(WorkloadRequest(0.0, True, 90, 20))
    assert num_common(second, other) < 12


def test_equal_blocks_are_equal_for_all_clients() -> None:
    one = PromptTexts((0, 0)).prompt(WorkloadRequest(0.0, False, 1200, 5, blocks=(7, 8, 9)))
    other = PromptTexts((0, 1)).prompt(WorkloadRequest(0.0, False, 1400, 5, blocks=(7, 8, 10)))
    assert (len(one), len(other)) == (1200, 1400)
    assert 2 * TEXT_BLOCK <= num_common(one, other) < 2 * TEXT_BLOCK + 12

"""The figures of transformers' assisted generation: what is equal, what is faster."""

import pytest
from runs.assisted_generation import Answer, Setting, _summary


def test_speedup_is_of_rates_and_texts_are_compared() -> None:
    alone = [Answer((1, 2, 3, 4), 2.0), Answer((5, 6), 1.0)]
    found = [Answer((1, 2, 3, 4), 1.0), Answer((5, 7), 0.5)]
    figures = _summary([(alone, found), (alone, found)])
    assert figures["speedup"] == pytest.approx(2.0)
    assert figures["over_repetitions"] == pytest.approx([2.0, 2.0])
    assert figures["over_prompts"] == pytest.approx([2.0, 2.0, 2.0])
    assert figures["tokens_per_s"] == pytest.approx(4.0)
    assert figures["equal_texts"] == 0.5


def test_interval_over_prompts_is_wide_where_prompts_differ() -> None:
    alone = [Answer((1,) * 10, 1.0), Answer((2,) * 10, 1.0)]
    found = [Answer((1,) * 10, 0.5), Answer((2,) * 10, 2.0)]
    figures = _summary([(alone, found)] * 3)
    assert figures["over_repetitions"] == pytest.approx([0.8, 0.8])
    mean, low, high = figures["over_prompts"]
    assert mean == pytest.approx(1.0)
    assert low < 0.01
    assert high > 100


def test_setting_is_read_from_its_text() -> None:
    assert Setting.read("4:0.3") == Setting(4, 0.3)
    assert Setting.read("2") == Setting(2, 0.0)

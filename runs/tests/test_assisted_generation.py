"""The summary of assisted generation: equal texts and speed-up."""

import pytest
from runs.assisted_generation import Setting, TimedAnswer, _summary


def test_speedup_is_the_ratio_of_rates_and_texts_are_compared() -> None:
    baseline = [TimedAnswer((1, 2, 3, 4), 2.0), TimedAnswer((5, 6), 1.0)]
    assisted = [TimedAnswer((1, 2, 3, 4), 1.0), TimedAnswer((5, 7), 0.5)]
    summary = _summary([(baseline, assisted), (baseline, assisted)])
    assert summary["speedup"] == pytest.approx(2.0)
    assert summary["over_repetitions"] == pytest.approx([2.0, 2.0])
    assert summary["over_prompts"] == pytest.approx([2.0, 2.0, 2.0])
    assert summary["tokens_per_s"] == pytest.approx(4.0)
    assert summary["equal_texts"] == 0.5


def test_interval_over_prompts_is_wide_where_prompts_differ() -> None:
    baseline = [TimedAnswer((1,) * 10, 1.0), TimedAnswer((2,) * 10, 1.0)]
    assisted = [TimedAnswer((1,) * 10, 0.5), TimedAnswer((2,) * 10, 2.0)]
    summary = _summary([(baseline, assisted)] * 3)
    assert summary["over_repetitions"] == pytest.approx([0.8, 0.8])
    mean, low, high = summary["over_prompts"]
    assert mean == pytest.approx(1.0)
    assert low < 0.01
    assert high > 100


def test_setting_is_read_from_its_text() -> None:
    assert Setting.read("4:0.3") == Setting(4, 0.3)
    assert Setting.read("2") == Setting(2, 0.0)

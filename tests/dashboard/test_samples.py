"""Rates of counters over the last minute."""

import pytest

from goodspeed.dashboard.samples import KEPT_S, History, Sample


def sample(at_s: float, tokens: float, client: str = "a") -> Sample:
    return Sample.parse(
        f'# TYPE tokens counter\ntokens_total{{client="{client}"}} {tokens}\n# TYPE open gauge\nopen 2\n', at_s
    )


def history(*points: tuple[float, float]) -> History:
    made = History()
    for at_s, tokens in points:
        made.add(sample(at_s, tokens))
    return made


def test_values_are_found_by_name_and_labels() -> None:
    parsed = sample(1.0, 7)
    assert (parsed.get("tokens_total", client="a"), parsed.get("open"), parsed.get("tokens_total")) == (7, 2, 0)
    assert parsed.label_values("tokens_total", "client") == ["a"]


def test_text_that_is_no_exposition_is_an_error() -> None:
    with pytest.raises(ValueError):
        Sample.parse("<html>", 0.0)


def test_rate_is_growth_over_the_span_that_was_seen() -> None:
    seen = history((0.0, 10), (4.0, 30), (10.0, 90))
    assert seen.rate("tokens_total", client="a") == 8.0
    assert seen.rate("tokens_total", over_s=6.0, client="a") == 10.0
    assert seen.rate("tokens_total", over_s=1.0, client="a") == 10.0  # at least the last two samples


def test_one_sample_has_no_rate() -> None:
    assert history((0.0, 10)).rate("tokens_total", client="a") == 0.0


def test_samples_older_than_a_minute_are_forgotten() -> None:
    assert history((0.0, 0), (KEPT_S, 60), (2 * KEPT_S, 240)).rate("tokens_total", client="a") == 3.0


def test_restart_of_a_server_begins_a_new_history() -> None:
    assert history((0.0, 500), (1.0, 5), (2.0, 9)).rate("tokens_total", client="a") == 4.0

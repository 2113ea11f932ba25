"""The sentences of a simulation say what its figures say."""

from dataclasses import replace

from goodspeed.experiment.story import story
from goodspeed.experiment.summary import Summary
from goodspeed.stats.intervals import ConfidenceInterval


def around(mean: float, half_width: float = 0.0) -> ConfidenceInterval:
    return ConfidenceInterval(mean, mean - half_width, mean + half_width)


SUMMARY = Summary(
    num_replications=2,
    metrics={
        "goodput": around(90.0, 2.0),
        "estimated_speed_up": around(1.5, 0.1),
        "ttft_p50_s": around(0.21),
        "tpot_p50_s": around(0.03),
        "tpot_p99_s": around(0.08),
        "remote_rounds": around(0.6),
        "co_located_rounds": around(0.4),
        "target_only_rounds": around(0.0),
        "network_share": around(0.3),
        "verify_share": around(0.7),
        "utilisation": around(0.95),
    },
    goodputs={"laptop": around(60.0), "phone": around(30.0)},
)


def test_figures_that_matter_are_named() -> None:
    assert story(SUMMARY, []) == [
        "2 clients had 90.0 (88.0 to 92.0) tokens/s in all, "
        "1.50 (1.40 to 1.60) times the target alone by the verifiers' estimate.",
        "The first token came after 210 ms (median), a further one after 30.0 ms (p99 80.0 ms).",
        "Rounds were 60% remote, 40% co-located.",
        "The time of answers was 30% the network, 70% verification.",
        "The poorest client, phone, had 30.0 tokens/s, 0.67 of the mean.",
        "Verifiers were busy 95% of the time: they are the limit.",
    ]


def test_run_without_answers_says_so() -> None:
    assert story(replace(SUMMARY, metrics={}, goodputs={"laptop": around(0.0)}), []) == [
        "No answer was finished after the warm-up."
    ]


def test_single_replication_has_no_interval() -> None:
    single = ConfidenceInterval(90.0, float("-inf"), float("inf"))
    (first, *_) = story(replace(SUMMARY, metrics={"goodput": single}), [])
    assert first == "2 clients had 90.0 tokens/s in all."

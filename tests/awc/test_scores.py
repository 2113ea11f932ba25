"""Scores and labels."""

import numpy as np
import pytest
from tests.awc.collections import record

from goodspeed.awc.scores import ScoreConfig, labels, scores

PLAIN = ScoreConfig(late_weight=1.0, others_weight=0.0)


def test_score_is_tokens_per_second_of_answer_time() -> None:
    assert scores(record({"remote 2": [50.0, 25.0]}), PLAIN) == pytest.approx(np.array([[50.0, 25.0]]))


def test_late_answers_count_less() -> None:
    """At 25 tokens/s a token takes 40 ms."""
    config = ScoreConfig(tpot_s=0.035, late_weight=0.5)
    assert scores(record({"remote 2": [50.0, 25.0]}), config) == pytest.approx(np.array([[50.0, 12.5]]))


def test_a_client_without_an_answer_counts_as_if_it_had_one_in_the_whole_run() -> None:
    found = scores(record({"remote 2": [50.0], "remote 4": [0.0]}, duration_s=20.0), PLAIN)
    assert found == pytest.approx(np.array([[50.0], [5.0]]))


def windows(goodputs: dict[str, list[float]]) -> dict[str, list[float]]:
    """With all arms that a label is chosen from."""
    rest = {f"remote {window}": [1.0] * 2 for window in range(2, 13)}
    return {"target_only": [1.0] * 2, **rest, **goodputs}


def test_label_is_the_best_window_of_each_client_and_1_for_the_local_mode() -> None:
    found = record(windows({"remote 6": [50.0, 20.0], "target_only": [40.0, 40.0], "remote 1": [90.0, 90.0]}))
    assert labels(found, PLAIN, "target_only").tolist() == [6.0, 1.0]


def test_the_other_clients_weigh_as_much_as_configured() -> None:
    goodputs = windows({"remote 6": [50.0, 20.0], "target_only": [40.0, 40.0]})
    selfish, shared = ScoreConfig(late_weight=1.0, others_weight=0.0), ScoreConfig(late_weight=1.0, others_weight=1.0)
    assert labels(record(goodputs), selfish, "target_only").tolist() == [6.0, 1.0]
    assert labels(record(goodputs), shared, "target_only").tolist() == [1.0, 1.0]


def test_only_swept_windows_are_labels() -> None:
    found = record({"remote 2": [10.0], "remote 8": [20.0], "target_only": [15.0]})
    assert labels(found, PLAIN, "target_only").tolist() == [8.0]


def test_co_located_drafts_stand_for_window_1_where_there_are_any() -> None:
    goodputs = windows({"remote 6": [50.0, 50.0], "co_located": [60.0, 60.0]})
    assert labels(record(goodputs), PLAIN, "co_located").tolist() == [1.0, 1.0]
    assert labels(record(goodputs), PLAIN, "target_only").tolist() == [6.0, 6.0]
    del goodputs["co_located"]
    assert labels(record(goodputs), PLAIN, "co_located").tolist() == [6.0, 6.0]

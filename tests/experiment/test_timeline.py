"""Traced requests as a timeline."""

import itertools
from typing import Any

from goodspeed.experiment.timeline import events
from goodspeed.simulator.result import Span

SPANS = (
    Span("a", 0, "drafter", "draft", 0.0, 0.010),
    Span("a", 0, "verifier", "round 1", 0.012, 0.020),
    Span("a", 1, "verifier", "round 1", 0.015, 0.022),
    Span("b", 0, "verifier", "round 1", 0.012, 0.020),
    Span("a", 0, "verifier", "round 2", 0.020, 0.030),
)


def _named(kind: str) -> dict[Any, str]:
    found = [event for event in events(SPANS) if event["name"] == kind]
    return {(event["pid"], event["tid"]): event["args"]["name"] for event in found}


def test_every_client_is_a_process_and_every_actor_a_track() -> None:
    assert sorted(_named("process_name").values()) == ["a", "b"]
    assert sorted(_named("thread_name").values()) == ["drafter", "verifier", "verifier", "verifier 2"]


def test_spans_keep_their_times_in_microseconds() -> None:
    shown = [event for event in events(SPANS) if event["ph"] == "X"]
    assert len(shown) == len(SPANS)
    assert (shown[0]["ts"], shown[0]["dur"], shown[0]["args"]) == (0.0, 10_000.0, {"request": 0})


def test_no_two_spans_of_a_track_overlap() -> None:
    shown = [event for event in events(SPANS) if event["ph"] == "X"]
    for track in {(event["pid"], event["tid"]) for event in shown}:
        times = [(event["ts"], event["ts"] + event["dur"]) for event in shown if (event["pid"], event["tid"]) == track]
        assert all(end <= start + 1e-6 for (_, end), (start, _) in itertools.pairwise(times))

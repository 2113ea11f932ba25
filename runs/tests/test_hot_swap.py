"""The hot swap's report of a verifier's event log."""

import json
from pathlib import Path

from runs.hot_swap import LoggedRound, Swap, intervals_of, logged_rounds


def test_intervals_during_a_swap_and_the_next_ones_are_reported_separately() -> None:
    rounds = [LoggedRound(1, step, float(step), 4, 2) for step in range(7)]
    rounds += [LoggedRound(2, 8, 8.0, 0, 0), LoggedRound(2, 10, 9.5, 4, 1)]
    ordinary, swapped = intervals_of(rounds, [Swap("other", 2.2, 2.6, 100.0)])
    assert [(interval.start_s, interval.num_steps) for interval in ordinary] == [
        (0.0, 1),
        (1.0, 1),
        (4.0, 1),
        (5.0, 1),
        (8.0, 2),
    ]
    assert [interval.start_s for interval in swapped] == [2.0, 3.0]


def test_rounds_of_a_log_are_those_with_a_token_until_the_load_ends(tmp_path: Path) -> None:
    events = [
        {"event": "start", "now": 0.0},
        _verified(1.0, (_prefill(1, 9), (0, 5)), (_prefill(2, 64), (0, None))),
        _verified(1.5),
        _verified(2.0, (_verify(1, 7, 8), (1, 6))),
        _verified(3.0, (_verify(1, 7), (1, 6))),
    ]
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps(event) + "\n" for event in events))
    assert list(logged_rounds(log, until_s=2.5)) == [LoggedRound(1, 1, 1.0, 0, 0), LoggedRound(1, 2, 2.0, 2, 1)]


def _prefill(stream: int, num_tokens: int) -> dict[str, object]:
    return {"kind": "Prefill", "stream": stream, "num_tokens": num_tokens}


def _verify(stream: int, *draft_tokens: int) -> dict[str, object]:
    return {"kind": "Verify", "stream": stream, "draft_tokens": draft_tokens}


def _verified(now: float, *rounds: tuple[dict[str, object], tuple[int, int | None]]) -> dict[str, object]:
    outcomes = [
        {"stream": work["stream"], "num_accepted": num_accepted, "next_token": next_token}
        for work, (num_accepted, next_token) in rounds
    ]
    return {"event": "verified", "now": now, "work": [work for work, _ in rounds], "outcomes": outcomes, "replies": []}

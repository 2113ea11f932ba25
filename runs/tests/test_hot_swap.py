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
        _batch({"kind": "Prefill", "stream": 1, "num_tokens": 9}, {"kind": "Prefill", "stream": 2, "num_tokens": 64}),
        _verified(1.0, (1, 0, 5), (2, 0, None)),
        _batch(),
        _batch({"kind": "Verify", "stream": 1, "draft_tokens": [7, 8]}),
        _verified(2.0, (1, 1, 6)),
        _batch({"kind": "Verify", "stream": 1, "draft_tokens": [7]}),
        _verified(3.0, (1, 1, 6)),
    ]
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps(event) + "\n" for event in events))
    assert list(logged_rounds(log, until_s=2.5)) == [LoggedRound(1, 1, 1.0, 0, 0), LoggedRound(1, 2, 2.0, 2, 1)]


def _batch(*work: dict[str, object]) -> dict[str, object]:
    return {"event": "batch", "now": 0.0, "batch": {"closed": [], "opened": [], "work": list(work)}}


def _verified(now: float, *outcomes: tuple[int, int, int | None]) -> dict[str, object]:
    named = [dict(zip(("stream", "num_accepted", "next_token"), outcome, strict=True)) for outcome in outcomes]
    return {"event": "verified", "now": now, "outcomes": named, "replies": []}

"""What the hot swap's report makes of a verifier's log."""

import json
from pathlib import Path

from runs.hot_swap import Round, Swap, gaps_of, rounds_of


def test_rounds_that_an_exchange_touches_and_the_next_ones_are_apart() -> None:
    rounds = [Round(1, step, float(step), 4, 2) for step in range(7)]
    rounds += [Round(2, 8, 8.0, 0, 0), Round(2, 10, 9.5, 4, 1)]
    ordinary, touched = gaps_of(rounds, [Swap("other", 2.2, 2.6, 100.0)])
    assert [(gap.begin_s, gap.num_steps) for gap in ordinary] == [(0.0, 1), (1.0, 1), (4.0, 1), (5.0, 1), (8.0, 2)]
    assert [gap.begin_s for gap in touched] == [2.0, 3.0]


def test_rounds_of_a_log_are_those_with_a_token_until_the_load_is_over(tmp_path: Path) -> None:
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
    assert list(rounds_of(log, until_s=2.5)) == [Round(1, 1, 1.0, 0, 0), Round(1, 2, 2.0, 2, 1)]


def _batch(*work: dict[str, object]) -> dict[str, object]:
    return {"event": "batch", "now": 0.0, "batch": {"closed": [], "opened": [], "work": list(work)}}


def _verified(now: float, *outcomes: tuple[int, int, int | None]) -> dict[str, object]:
    named = [dict(zip(("stream", "num_accepted", "next_token"), one, strict=True)) for one in outcomes]
    return {"event": "verified", "now": now, "outcomes": named, "replies": []}

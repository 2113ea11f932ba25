"""Rounds until a grant, from what a verifier logs."""

from runs.mode_changes import GrantedRounds


def verdict(stream: int, grant: int) -> dict[str, object]:
    return {"conn": 7, "kind": "Verdict", "stream": stream, "epoch": 0, "grant": grant}


def test_rounds_without_a_grant_are_counted_over_streams() -> None:
    rounds = GrantedRounds()
    rounds.write("message", 0.0, {"message": {"kind": "Hello", "drafter": "client0-0"}, "conn": 7})
    for now, (stream, grant) in enumerate([(1, 0), (1, 4), (2, 0), (2, 0), (3, 0), (3, 2)]):
        rounds.write("verified", float(now), {"replies": [verdict(stream, grant)]})
    assert rounds.rounds_to_grant("client0-0", (1, 0)) == 1
    assert rounds.rounds_to_grant("client0-0", (2, 0)) == 3
    assert rounds.opened_at["client0-0", 3, 0] == 4.0

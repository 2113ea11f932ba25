"""Acceptance from an event log."""

import json
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from goodspeed.bench.logged_run import logged_run
from goodspeed.errors import DataError
from goodspeed.records.event_log import FORMAT

Event = dict[str, object]
START: Event = {"event": "start", "format": FORMAT, "config": {"budget": 6, "max_proposal": 5}}


def _hello(conn: int, name: str) -> Event:
    return {"event": "message", "conn": conn, "message": {"kind": "Hello", "drafter": name}, "replies": []}


def _step(*rounds: tuple[int, int, int], conns: Sequence[int]) -> Iterator[Event]:
    """(stream, proposed, accepted) each; `conns` of the verdicts."""
    yield {"event": "batch", "batch": {"turns": [{"proposal": [7] * length} for _, length, _ in rounds]}}
    work = [{"kind": "Verify", "stream": stream, "draft_tokens": [7] * length} for stream, length, _ in rounds]
    outcomes = [{"stream": stream, "num_accepted": accepted, "next_token": 1} for stream, _, accepted in rounds]
    verdicts = [{"kind": "Verdict", "conn": conn} for conn in conns]
    yield {"event": "verified", "work": work, "outcomes": outcomes, "replies": verdicts}


def _lines(*events: Event) -> list[str]:
    return [json.dumps(event) for event in (START, _hello(1, "ann"), _hello(2, "bob"), *events)]


def test_each_clients_curve_is_found_behind_the_censoring() -> None:
    """Proposals of unlike lengths; survival .8, .4, .36, whatever was proposed after the rejection."""
    rng = np.random.default_rng(0)
    events: list[Event] = []
    for _ in range(4000):
        length = int(rng.integers(1, 4))
        kept = rng.random(3) < (0.8, 0.5, 0.9)
        accepted = int(np.argmin([*kept[:length], False]))
        events.extend(_step((11, length, accepted), (12, 2, 2), conns=(1, 2)))
    run = logged_run(_lines(*events))
    assert run.budget == 6
    assert list(run.clients) == ["ann", "bob"]
    ann, bob = run.clients["ann"], run.clients["bob"]
    assert ann.survival[:3] == pytest.approx((0.8, 0.4, 0.36), abs=0.025)
    assert len(ann.survival) == ann.max_grant == 5
    assert bob.survival[:2] == pytest.approx((1.0, 1.0), abs=0.01)


def test_rounds_without_a_proposal_and_prefills_are_no_evidence() -> None:
    chunk: Event = {
        "event": "verified",
        "work": [{"kind": "Prefill", "stream": 12, "num_tokens": 4}],
        "outcomes": [{"stream": 12, "num_accepted": 0, "next_token": None}],
        "replies": [],
    }
    run = logged_run(_lines(chunk, *_step((12, 0, 0), conns=(2,)), *_step((11, 2, 1), conns=(1,))))
    assert list(run.clients) == ["ann"]


def test_draft_tokens_of_the_verifier_are_no_evidence_of_the_drafter() -> None:
    """In place of the proposal 7 7 7 the verifier has verified 7 8 9, of which two were accepted."""

    def step(proposal: Sequence[int], verified: Sequence[int], accepted: int) -> Iterator[Event]:
        yield {"event": "batch", "batch": {"turns": [{"proposal": proposal}]}}
        work = [{"kind": "Verify", "stream": 11, "draft_tokens": verified}]
        outcomes = [{"stream": 11, "num_accepted": accepted, "next_token": 1}]
        replies = [{"kind": "Verdict", "conn": 1}]
        yield {"event": "verified", "work": work, "outcomes": outcomes, "replies": replies}

    local = logged_run(_lines(*step([], [7, 7, 7], 3)))
    assert local.clients == {}
    replaced = [event for _ in range(200) for event in step([7, 7, 7], [7, 8, 9], 2)]
    assert logged_run(_lines(*replaced)).clients["ann"].survival[:2] == pytest.approx((1.0, 0.0), abs=0.1)
    extended = [event for _ in range(200) for event in step([7, 7], [7, 7, 9, 9], 2)]
    assert logged_run(_lines(*extended)).clients["ann"].survival[:2] == pytest.approx((1.0, 1.0), abs=0.1)


def test_a_lost_link_does_not_give_its_rounds_to_another() -> None:
    """bob's verdict has nowhere to go in the second step: the one verdict there is ann's."""
    known = _step((12, 3, 0), (11, 3, 3), conns=(2, 1))
    lost = _step((12, 3, 0), (11, 3, 3), conns=(1,))
    run = logged_run(_lines(*known, *lost))
    assert run.clients["ann"].acceptance_rate > 0.7
    assert run.clients["bob"].acceptance_rate < 0.5


def test_floors_caps_and_weights_are_part_of_the_problem() -> None:
    entries = [{"name": "", "cap": 3}, {"name": "bob", "weight": 2.0, "floor": 1}]
    start: Event = {"event": "start", "format": FORMAT, "config": {"clients": entries}}
    events = _step((11, 1, 1), (12, 1, 1), conns=(1, 2))
    run = logged_run([json.dumps(event) for event in (start, _hello(1, "ann"), _hello(2, "bob"), *events)])
    ann, bob = run.clients["ann"], run.clients["bob"]
    assert (ann.weight, ann.min_grant, ann.max_grant) == (1.0, 0, 3)
    assert (bob.weight, bob.min_grant, bob.max_grant) == (2.0, 1, 16)


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [([], "is empty"), (["{}"], "line 1"), (["no json"], "line 1"), ([json.dumps(_hello(1, "ann"))], "start event")],
)
def test_a_file_that_is_not_an_event_log_is_refused(lines: list[str], complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        logged_run(lines)

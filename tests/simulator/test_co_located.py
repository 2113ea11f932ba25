"""The drafts that a simulated verifier makes by itself."""

import pytest
from tests.simulator.test_draft import GivenTrace

from goodspeed.decoding.draft import Draft, DraftRequest
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.interface import StreamSpec
from goodspeed.simulator.co_located import CoLocatedCost, ExpectedStream, ExpectedStreams, SimulatedCoLocatedDrafts
from goodspeed.simulator.target import RIGHT, WRONG

NOTHING = Draft((), ())
PROMPT = 3


def opened(bits: str, num_resumed: int = 0) -> SimulatedCoLocatedDrafts:
    """Drafts of stream 7, which a client has opened as its second."""
    expected = ExpectedStreams()
    expected.expect("ann", 2, ExpectedStream(GivenTrace(bits, (0.9,) * len(bits)), PROMPT))
    drafts = SimulatedCoLocatedDrafts(CoLocatedCost(0.001), expected)
    tokens = (RIGHT,) * (PROMPT + num_resumed)
    drafts.open(7, StreamSpec(tokens, Sampling(), 100, client="ann", client_stream=2))
    return drafts


def test_drafts_follow_the_trace_from_the_committed_text() -> None:
    drafts = opened("1101011")
    assert drafts.draft([DraftRequest(7, 3)])[0].tokens == (RIGHT, RIGHT, WRONG)
    drafts.commit(7, (RIGHT,) * 3)
    assert drafts.draft([DraftRequest(7, 2)])[0].tokens == (RIGHT, WRONG)


def test_a_resumed_stream_continues_in_its_answer() -> None:
    assert opened("1101011", num_resumed=5).draft([DraftRequest(7, 2)])[0].tokens == (RIGHT, RIGHT)


def test_a_proposal_is_extended_as_if_it_were_committed() -> None:
    (draft,) = opened("1101011").draft([DraftRequest(7, 2, after=(RIGHT, RIGHT, RIGHT))])
    assert draft.tokens == (RIGHT, WRONG)


def test_every_step_of_a_draft_takes_time_also_the_one_that_ends_it() -> None:
    drafts = opened("1111")
    drafts.draft([DraftRequest(7, 3, min_survival=0.7)])  # 0.9 ** 3 is above the bound
    assert drafts.drafting_s == pytest.approx(0.003)
    drafts.draft([DraftRequest(7, 4, min_survival=0.7)])
    assert drafts.drafting_s == pytest.approx(0.007)


def test_streams_that_nobody_expected_have_empty_drafts() -> None:
    drafts = opened("1111")
    drafts.open(8, StreamSpec((RIGHT,), Sampling(), 100, client="bob", client_stream=2))
    assert drafts.draft([DraftRequest(8, 2), DraftRequest(7, 1)]) == [NOTHING, Draft((RIGHT,), (0.9,))]
    drafts.close(8)
    drafts.close(7)
    assert drafts.draft([DraftRequest(7, 2)]) == [NOTHING]


def test_a_stream_that_has_ended_is_not_expected_again() -> None:
    expected = ExpectedStreams()
    expected.expect("ann", 2, ExpectedStream(GivenTrace("1", (0.9,)), PROMPT))
    expected.forget("ann", 2)
    assert expected.find("ann", 2) is None

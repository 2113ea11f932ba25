"""What a simulated draft engine proposes for a given acceptance trace."""

from dataclasses import dataclass

from goodspeed.decoding.draft import Draft, DraftRequest
from goodspeed.decoding.sampling import Sampling
from goodspeed.simulator.acceptance.acceptance_model import AcceptanceTrace
from goodspeed.simulator.acceptance.exact import ExactTrace
from goodspeed.simulator.draft import SimulatedDraftEngine
from goodspeed.simulator.latency.linear import LinearConfig
from goodspeed.simulator.target import RIGHT, WRONG


@dataclass(frozen=True)
class GivenTrace:
    """An acceptance trace with given bits and confidences."""

    bits: str
    confidences: tuple[float, ...]

    def is_right(self, position: int, depth: int) -> bool:  # noqa: ARG002
        return self.bits[position] == "1"

    def confidence(self, position: int, depth: int) -> float:  # noqa: ARG002
        return self.confidences[position]


def drafted(trace: AcceptanceTrace, max_tokens: int, min_survival: float) -> Draft:
    engine = SimulatedDraftEngine(LinearConfig().model())
    engine.expect(1, trace, 3)
    engine.open(1, (RIGHT,) * 3, Sampling())
    (draft,) = engine.draft([DraftRequest(1, max_tokens, min_survival)])
    return draft


def test_after_a_wrong_token_the_drafter_keeps_that_tokens_confidence() -> None:
    """0.9 * 0.7 * 0.7 is above the bound, one more 0.7 is below. The later positions of the trace are unused."""
    draft = drafted(GivenTrace("10111", (0.9, 0.7, 0.0, 0.0, 0.0)), 5, 0.4)
    assert draft.tokens == (RIGHT, WRONG, WRONG)
    assert draft.confidences == (0.9, 0.7, 0.7)


def test_drafting_stops_before_a_token_whose_survival_is_too_low() -> None:
    assert drafted(GivenTrace("111", (0.9, 0.5, 0.8)), 3, 0.4).tokens == (RIGHT, RIGHT)


def test_with_exact_confidences_no_wrong_token_is_proposed_or_drafted() -> None:
    """Two right tokens take two steps, at any bound; none at all takes no time."""
    trace = ExactTrace(GivenTrace("1101", (0.1, 0.2, 0.9, 0.9)))
    assert drafted(trace, 4, 0.0) == Draft((RIGHT, RIGHT), (1.0, 1.0))
    assert drafted(trace, 4, 0.9) == Draft((RIGHT, RIGHT), (1.0, 1.0))
    times_s = []
    for bits in ("1101", "0111"):
        engine = SimulatedDraftEngine(LinearConfig(base_s=0.01, token_s=0.0).model())
        engine.expect(1, ExactTrace(GivenTrace(bits, (0.5,) * 4)), 1)
        engine.open(1, (RIGHT,), Sampling())
        engine.draft([DraftRequest(1, 4, 0.0)])
        times_s.append(engine.take_drafting_s())
    assert times_s == [0.02, 0.0]

"""The reported quality of a draft equals what drafting with it gives."""

import numpy as np
import pytest
from tests.tuning.toy import toy_example

from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.calibration import Calibration
from goodspeed.engine.hybrid import DraftKnowledge, HybridDraft
from goodspeed.engine.lookup import LookupSource
from goodspeed.engine.reference import ReferenceRequest
from goodspeed.engine.teacher_forcing import teacher_force_all
from goodspeed.engine.toy_draft import ToyDraft
from goodspeed.engine.toy_target import ToyTarget
from goodspeed.lossless.pair import DraftSchedule, EnginePair
from goodspeed.stats.ratio_estimate import ratio_of_sums
from goodspeed.tuning.data.scored_answer import ScoredAnswer, scored_answers
from goodspeed.tuning.evaluate.quality import WINDOWS, quality, quality_of
from goodspeed.tuning.evaluate.reliability import reliability_diagram
from goodspeed.tuning.evaluate.renewal import expected_rounds
from goodspeed.tuning.evaluate.round_replay import RoundReplayer

GREEDY = scored_answers([toy_example(i) for i in range(6)], 0.0, Rule.GREEDY)
SAMPLED = [toy_example(i, temperature=1.0) for i in range(24)]


@pytest.mark.parametrize("answers", [GREEDY, scored_answers(SAMPLED[:6], 1.0, Rule.COUPLED)], ids=["greedy", "coupled"])
def test_one_pass_predicts_the_acceptance_of_every_window(answers: list[ScoredAnswer]) -> None:
    found = quality(ToyDraft(0.7), answers, num_streams=4)
    for window in WINDOWS:
        replayed = RoundReplayer(ToyDraft(0.7), num_streams=3).replay(answers, window)
        assert found.accepted_per_round[window].value == pytest.approx(replayed.accepted_per_round.value)
        assert found.accepted_per_round[window].standard_error == pytest.approx(
            replayed.accepted_per_round.standard_error
        )


def test_one_pass_predicts_the_acceptance_of_lookup() -> None:
    found = quality(_lookup(), GREEDY, num_streams=2)
    replayed = RoundReplayer(_lookup(), num_streams=2).replay(GREEDY, 4)
    assert found.accepted_per_round[4].value == pytest.approx(replayed.accepted_per_round.value)
    assert 0.0 < found.drafted < 1.0


def _lookup() -> HybridDraft:
    return HybridDraft(DraftKnowledge([LookupSource()], Calibration()))


def test_rejection_accepts_one_minus_the_total_variation() -> None:
    """The toy draft's distribution is at total variation 0.4 from the target's, at every position."""
    answers = scored_answers(SAMPLED, 1.0, Rule.REJECTION)
    found = quality(ToyDraft(0.6), answers, num_streams=4)
    assert abs(found.agreement.value - 0.6) < 3 * found.agreement.standard_error < 0.06
    assert found.rule == "rejection"


def test_rejection_on_recorded_answers_agrees_with_sampled_rejection() -> None:
    """Window 3, compared with rounds of an engine pair that samples; within 4 standard errors of both."""
    found = quality(ToyDraft(0.6), scored_answers(SAMPLED, 1.0, Rule.REJECTION), num_streams=4).accepted_per_round[3]
    sampling = [Sampling(1.0, seed=100 + i, rule=Rule.REJECTION) for i in range(24)]
    requests = [ReferenceRequest((97, 98, 99 + i), 60, each) for i, each in enumerate(sampling)]
    texts = EnginePair(ToyTarget(), ToyDraft(0.6)).generate(requests, DraftSchedule((3,), 4))
    drawn = ratio_of_sums((i, text.num_accepted, text.num_rounds - 1) for i, text in enumerate(texts))
    assert abs(found.value - drawn.value) < 4 * np.hypot(found.standard_error, drawn.standard_error)


def test_survival_sums_to_the_accepted_tokens() -> None:
    found = quality(ToyDraft(0.7), GREEDY, num_streams=4)
    assert found.survival[0] == found.acceptance[0].value
    assert all(earlier >= later for earlier, later in zip(found.survival, found.survival[1:], strict=False))
    assert sum(found.survival) == pytest.approx(
        found.accepted_per_round[8].value, abs=0.15
    )  # rounds at the end of an answer are shorter


def test_categories_are_reported_separately() -> None:
    good = [toy_example(i, category="good") for i in range(3)]
    bad = [toy_example(i, category="bad") for i in range(3, 6)]
    forced = teacher_force_all(ToyDraft(1.0), scored_answers(good, 0.0, Rule.GREEDY), 3)
    forced += teacher_force_all(ToyDraft(0.0), scored_answers(bad, 0.0, Rule.GREEDY), 3)
    found = quality_of(forced)
    assert {name: part.agreement.value for name, part in found.categories.items()} == {"good": 1.0, "bad": 0.0}
    assert found.agreement.value == 0.5


def test_unseen_categories_are_reported_together() -> None:
    known = [toy_example(i, category="known") for i in range(2)]
    other = [toy_example(i, category=f"unseen-{i % 2}") for i in range(2, 6)]
    forced = teacher_force_all(ToyDraft(0.0), scored_answers(known, 0.0, Rule.GREEDY), 3)
    forced += teacher_force_all(ToyDraft(1.0), scored_answers(other, 0.0, Rule.GREEDY), 3)
    unseen = quality_of(forced, {"unseen-0", "unseen-1", "absent"}).unseen
    assert unseen is not None
    assert unseen.num_answers == 4
    assert unseen.agreement.value == 1.0
    assert quality_of(forced).unseen is None


def test_expected_rounds_of_certain_outcomes() -> None:
    """Window 2 on (1, 0, 1, 1, 1) takes two rounds: 1 accepted and a recovered token, 2 accepted and a bonus token."""
    rounds = expected_rounds([1, 0, 1, 1, 1], window=2)
    assert rounds.num_rounds == 2.0
    assert rounds.reached.tolist() == [2.0, 2.0]
    assert rounds.accepted.tolist() == [2.0, 1.0]


def test_expected_rounds_are_the_mean_over_all_outcomes() -> None:
    acceptance_probs = [0.5, 0.25, 0.75, 0.5, 0.5]
    mean = np.zeros(2)
    for bits in range(2 ** len(acceptance_probs)):
        drawn = [float(bits >> i & 1) for i in range(len(acceptance_probs))]
        weight = np.prod([c if d else 1 - c for c, d in zip(acceptance_probs, drawn, strict=True)])
        rounds = expected_rounds(drawn, window=3)
        mean += weight * np.array([rounds.num_rounds, rounds.num_accepted])
    rounds = expected_rounds(acceptance_probs, window=3)
    assert [rounds.num_rounds, rounds.num_accepted] == pytest.approx(mean.tolist())


def test_standard_error_is_over_prompts_not_tokens() -> None:
    once = ratio_of_sums([(i, float(i % 2), 1.0) for i in range(20)])
    tenfold = ratio_of_sums([(i, float(i % 2), 1.0) for i in range(20) for _ in range(10)])
    assert once.standard_error == pytest.approx(tenfold.standard_error) == pytest.approx(np.sqrt(0.25 / 19))
    assert np.isnan(ratio_of_sums([]).value)


def test_reliability_diagram_shows_overconfidence() -> None:
    rng = np.random.default_rng(0)
    confidences = rng.random(4000)
    calibrated = reliability_diagram(zip(confidences, rng.random(4000) < confidences, strict=True))
    overconfident = reliability_diagram(zip(confidences, rng.random(4000) < confidences**2, strict=True))
    assert calibrated.error < 0.03
    assert abs(calibrated.bias) < 0.03
    assert overconfident.bias == pytest.approx(1 / 2 - 1 / 3, abs=0.03)
    assert overconfident.error > 0.1
    assert sum(each.num_tokens for each in overconfident.bins) == 4000

"""What a check reports of pairs that do and do not keep the text."""

from collections.abc import Sequence

from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.interface import Outcome, Work
from goodspeed.engine.reference import ReferenceRequest
from goodspeed.engine.toy_draft import ToyDraft
from goodspeed.engine.toy_target import ToyTarget
from goodspeed.lossless.checks import TextDifference, check_distribution, check_texts
from goodspeed.lossless.pair import DraftSchedule, EnginePair

SCHEDULE = DraftSchedule((3, 0, 1), 4)
REQUESTS = [ReferenceRequest((i, i + 1), 10) for i in range(6)]


class Tired(ToyTarget):
    """Says token 5 in every step that has more than one stream: text depends on the batch."""

    def step(self, batch: Sequence[Work]) -> list[Outcome]:
        outcomes = super().step(batch)
        if len(batch) == 1:
            return outcomes
        return [Outcome(o.stream, o.num_accepted, None if o.next_token is None else 5) for o in outcomes]


def test_a_lossless_pair_has_no_differences_and_the_expected_acceptance() -> None:
    check = check_texts(EnginePair(ToyTarget(), ToyDraft(1.0)), REQUESTS, DraftSchedule((4,), 3))
    assert check.is_lossless
    assert (check.num_texts, check.num_tokens, check.acceptance_rate) == (6, 60, 1.0)
    assert check.tokens_per_round == 10 / 3  # 1 + 5 + 4 tokens


def test_nothing_proposed_is_an_acceptance_of_zero() -> None:
    check = check_texts(EnginePair(ToyTarget(), ToyDraft(1.0)), REQUESTS, DraftSchedule((0,), 3))
    assert (check.acceptance_rate, check.tokens_per_round) == (0.0, 1.0)


def test_text_that_depends_on_the_batch_is_named() -> None:
    target = Tired()
    check = check_texts(EnginePair(target, ToyDraft(0.5)), REQUESTS, SCHEDULE)
    assert not check.is_lossless
    assert check.differences[0] == TextDifference(0, 0, target.model.top(REQUESTS[0].prompt), 5)


def test_distribution_of_a_sound_pair_passes() -> None:
    request = ReferenceRequest((1, 2), 1, Sampling(1.0, rule=Rule.REJECTION))
    assert check_distribution(EnginePair(ToyTarget(), ToyDraft(0.7)), request, SCHEDULE, 100).is_lossless

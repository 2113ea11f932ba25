"""Engine pairs in one process: the baseline text in every schedule, and the checks that detect another one."""

from collections.abc import Sequence

import pytest

from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.interface import Outcome, Verify, Work
from goodspeed.engine.reference import ReferenceRequest, generate
from goodspeed.engine.toy_draft import ToyDraft
from goodspeed.engine.toy_model import ToyModel
from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.errors import RequestError
from goodspeed.lossless.pair import DraftSchedule, EnginePair, distribution_p_value, first_difference

VOCAB_SIZE = 40
MODEL = ToyModel(VOCAB_SIZE)
INFO = toy_info(vocab_size=VOCAB_SIZE, max_context=400, kv_capacity=500)
RAGGED = DraftSchedule(windows=(4, 0, 8, 1, 2), max_streams=5)


class Gullible(ToyTarget):
    """Accepts every draft token."""

    def step(self, batch: Sequence[Work]) -> list[Outcome]:
        outcomes = []
        for work in batch:
            if isinstance(work, Verify):
                self._streams[work.stream].tokens.extend(work.draft_tokens)
                outcome = super().step([Verify(work.stream, ())])[0]
                outcomes.append(Outcome(work.stream, len(work.draft_tokens), outcome.next_token))
            else:
                outcomes.extend(super().step([work]))
        return outcomes


def requests(sampling: Sampling, num_requests: int = 12, max_tokens: int = 20) -> list[ReferenceRequest]:
    return [
        ReferenceRequest(
            tuple((7 * i + j) % VOCAB_SIZE for j in range(1 + 13 * i)), max_tokens, sampling, end_tokens=(3,)
        )
        for i in range(num_requests)
    ]


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(0.7, seed=1, rule=Rule.COUPLED)])
@pytest.mark.parametrize("schedule", [RAGGED, DraftSchedule((0,), 3), DraftSchedule((8,), 1)])
def test_texts_equal_the_baseline_in_every_schedule(sampling: Sampling, schedule: DraftSchedule) -> None:
    target = ToyTarget(INFO)
    pair = EnginePair(target, ToyDraft(0.7, MODEL))
    given = requests(sampling)
    expected = [generate(MODEL, request) for request in given]
    assert [text.tokens for text in pair.generate_baseline(given)] == expected
    assert [text.tokens for text in pair.generate(given, schedule)] == expected
    assert target.num_open == 0


def test_rounds_and_acceptance_are_counted() -> None:
    request = ReferenceRequest((1, 2), 15, Sampling())
    text = EnginePair(ToyTarget(INFO), ToyDraft(1.0, MODEL)).generate([request], DraftSchedule((4,), 1))[0]
    assert (text.num_rounds, text.num_proposed, text.num_accepted) == (4, 11, 11)  # 1 + 5 + 5 + 4 tokens
    baseline = EnginePair(ToyTarget(INFO), ToyDraft(1.0, MODEL)).generate_baseline([request])[0]
    assert (baseline.num_rounds, baseline.num_proposed, baseline.num_accepted) == (15, 0, 0)


def test_on_text_is_called_for_every_text() -> None:
    announced: list[None] = []
    pair = EnginePair(ToyTarget(INFO), ToyDraft(0.5, MODEL))
    pair.generate(requests(Sampling(), 4), RAGGED, lambda: announced.append(None))
    assert len(announced) == 4


def test_a_text_beyond_the_context_is_refused() -> None:
    pair = EnginePair(ToyTarget(INFO), ToyDraft(0.5, MODEL))
    with pytest.raises(RequestError, match="allows 400"):
        pair.generate([ReferenceRequest((1,), 400, Sampling())], RAGGED)


def test_a_target_that_accepts_everything_is_detected() -> None:
    pair = EnginePair(Gullible(INFO), ToyDraft(0.7, MODEL))
    given = requests(Sampling(), 6)
    baseline, speculative = pair.generate_baseline(given), pair.generate(given, RAGGED)
    assert any(one.tokens != two.tokens for one, two in zip(baseline, speculative, strict=True))
    assert distribution_p_value(pair, warm(), RAGGED, 1000) < 1e-6


def test_the_distribution_of_texts_under_rejection_is_the_targets() -> None:
    pair = EnginePair(ToyTarget(INFO), ToyDraft(0.6, MODEL))
    assert distribution_p_value(pair, warm(), RAGGED, 300) > 1e-3


def warm() -> ReferenceRequest:
    return ReferenceRequest((1, 2, 3), 1, Sampling(2.0, rule=Rule.REJECTION))


def test_first_difference_counts_a_shorter_text() -> None:
    assert first_difference((1, 2, 3), (1, 2, 3)) is None
    assert first_difference((1, 2, 3), (1, 5, 3)) == 1
    assert first_difference((1, 2, 3), (1, 2)) == 2

"""Draft selection by value in the whole core: which drafters gain by it, and what estimators learn."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from msgspec import structs

from goodspeed.decoding.draft import Draft, DraftRequest
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.interface import Verify
from goodspeed.engine.toy_draft import ToyDraft
from goodspeed.engine.toy_target import toy_info
from goodspeed.testing.virtual_verifier import VirtualDrafter, VirtualVerifier, open_request, unlimited_info
from goodspeed.verifier.core.core_config import VerifierCoreConfig


class ClaimingDraft(ToyDraft):
    """A toy draft that reports one confidence for all tokens."""

    def __init__(self, acceptance_rate: float, claimed: float) -> None:
        super().__init__(acceptance_rate)
        self._claimed = claimed

    def draft(self, requests: Sequence[DraftRequest]) -> list[Draft]:
        return [
            structs.replace(draft, confidences=(self._claimed,) * len(draft.tokens))
            for draft in super().draft(requests)
        ]


class WithoutConfidences(ToyDraft):
    """A toy draft that reports no confidences."""

    def draft(self, requests: Sequence[DraftRequest]) -> list[Draft]:
        return [structs.replace(draft, confidences=()) for draft in super().draft(requests)]


class RecordingEstimator:
    """Remembers the rounds that it observed."""

    acceptance_rate = 0.5
    goodput = 2.0
    survival: Sequence[float] = ()

    def __init__(self) -> None:
        self.rounds: list[tuple[int, int]] = []

    def on_stream(self) -> None:
        """Prompts do not matter here."""

    def on_verdict(self, num_proposed: int, num_accepted: int) -> None:
        self.rounds.append((num_proposed, num_accepted))


BY_VALUE = VerifierCoreConfig(
    budget=6, overcommit=2.0, draft_selection="value", time_price=0.0, batching="barrier", scheduler="fixed"
)


def num_verified(claimed: float) -> list[int]:
    """Draft tokens verified for a drafter with acceptance 0.7, and for one with 0.4 that reports `claimed`."""
    verifier = VirtualVerifier(BY_VALUE, unlimited_info())
    for name, drafts in (("honest", ToyDraft(0.7)), ("claims", ClaimingDraft(0.4, claimed))):
        VirtualDrafter(verifier, name, drafts).open(open_request(1, max_tokens=100_000))
    verifier.run(8.0)
    return [client.num_verified for client in verifier.core.stats().clients]


def test_a_drafter_that_always_reports_certainty_gains_nothing() -> None:
    honest, overstated = num_verified(0.4), num_verified(1.0)
    assert overstated[1] < 1.15 * honest[1]
    assert overstated[0] > 0.9 * honest[0]


def test_batches_hold_the_budget_and_the_rest_of_the_proposals_is_trimmed() -> None:
    verifier = VirtualVerifier(BY_VALUE, unlimited_info())
    for name, rate in (("sure", 0.9), ("unsure", 0.3)):
        VirtualDrafter(verifier, name, rate).open(open_request(1, max_tokens=100_000))
    verifier.run(3.0)
    drafted = [sum(len(w.draft_tokens) for w in batch.work if isinstance(w, Verify)) for batch in verifier.steps]
    assert max(drafted) == 6
    sure, unsure = verifier.core.stats().clients
    assert sure.num_verified > 1.5 * unsure.num_verified


def test_the_estimator_learns_only_from_committed_tokens() -> None:
    """Of two verified tokens, all accepted: they and each stream's next token."""
    verifier = VirtualVerifier(replace(BY_VALUE, budget=2, overcommit=4.0), unlimited_info())
    for name in ("first", "second"):
        VirtualDrafter(verifier, name, 1.0).open(open_request(1, max_tokens=100_000))
    estimators = [RecordingEstimator(), RecordingEstimator()]
    for client, estimator in zip(verifier.core.stats().clients, estimators, strict=True):
        client.estimator = estimator
    verifier.run(1.0)
    rounds = [estimator.rounds for estimator in estimators]
    assert all(len(mine) > 10 for mine in rounds)
    assert all(accepted == proposed <= 2 + 1 for mine in rounds for proposed, accepted in mine)
    assert max(a[0] + b[0] for a, b in zip(*rounds, strict=False)) == 2 + 2


@pytest.mark.parametrize("rule", [Rule.GREEDY, Rule.COUPLED])
def test_texts_are_the_targets_own_whatever_is_trimmed(rule: Rule) -> None:
    sampling = Sampling() if rule is Rule.GREEDY else Sampling(0.8, seed=3, rule=rule)
    request = open_request(1, max_tokens=120, sampling=sampling)
    texts = []
    for config in (replace(BY_VALUE, draft_selection="arrival"), BY_VALUE, replace(BY_VALUE, time_price=1.0)):
        verifier = VirtualVerifier(config, toy_info())
        drafters = [VirtualDrafter(verifier, f"drafter {i}", ClaimingDraft(0.6, 0.2 + 0.3 * i)) for i in range(3)]
        for drafter in drafters:
            drafter.open(request)
        verifier.run(20.0)
        texts += [drafter.texts[1] for drafter in drafters]
    assert all(text == texts[0] for text in texts)
    assert len(texts[0]) == 123


def test_a_proposal_without_confidences_is_ranked_by_its_clients_survival_curve() -> None:
    verifier = VirtualVerifier(BY_VALUE, unlimited_info())
    for name, rate in (("sure", 0.9), ("unsure", 0.5)):
        VirtualDrafter(verifier, name, WithoutConfidences(rate)).open(open_request(1, max_tokens=100_000))
    verifier.run(5.0)
    sure, unsure = verifier.core.stats().clients
    assert sure.num_verified > 1.3 * unsure.num_verified

"""Exactness over all modes of a stream: switches every few rounds, lost drafters, and drawn proposals."""

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from goodspeed.decoding.distribution import distribution
from goodspeed.decoding.draft import Draft, DraftRequest, StreamKey
from goodspeed.decoding.rules import draft_probs_of, draw
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.calibration import Calibration
from goodspeed.engine.co_located import interpreted_drafts
from goodspeed.engine.hybrid import DraftKnowledge
from goodspeed.engine.interface import CoLocatedDrafts, StreamSpec
from goodspeed.engine.lookup import LookupSource
from goodspeed.engine.toy_draft import ToyDraft
from goodspeed.engine.toy_model import ToyModel
from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.testing.virtual_verifier import (
    VirtualDrafter,
    VirtualEngines,
    VirtualVerifier,
    open_request,
    target_only_text,
)
from goodspeed.verifier.core.core_config import VerifierCoreConfig

SWITCHING = VerifierCoreConfig(scheduler="random", budget=24, time_price=0.0)
"""Grants are uniform over all shares, so that a client often has none: its next round is local."""


VOCAB_SIZE = 4
PROMPT, LENGTH = (1, 2, 3), 4
NUM_TEXTS = 2000
TEMPERATURE = 4.0


class ToyGuesses:
    """Co-located drafts: each token is the target's own with `rate`, with confidences that do not know which."""

    def __init__(self, rate: float, model: ToyModel | None = None) -> None:
        self._drafts = ToyDraft(rate, model)

    def open(self, stream: StreamKey, spec: StreamSpec) -> None:
        self._drafts.open(stream, spec.tokens, Sampling())

    def draft(self, requests: Sequence[DraftRequest]) -> list[Draft]:
        return self._drafts.draft(requests)

    def commit(self, stream: StreamKey, tokens: Sequence[int]) -> None:
        self._drafts.commit(stream, tokens)

    def close(self, stream: StreamKey) -> None:
        self._drafts.close(stream)


def lookup_drafts() -> CoLocatedDrafts:
    return interpreted_drafts(lambda: DraftKnowledge([LookupSource()], Calibration()), max_clients=8)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(0.8, seed=5, rule=Rule.COUPLED)], ids=["greedy", "coupled"])
@pytest.mark.parametrize("drafts", [lookup_drafts, lambda: ToyGuesses(0.7)], ids=["lookup", "guesses"])
def test_texts_are_the_targets_own_whatever_the_modes(
    sampling: Sampling, drafts: Callable[[], CoLocatedDrafts]
) -> None:
    """64 prompts of four drafters, which all lose their links twice."""
    engine = ToyTarget(toy_info(max_context=1000, kv_capacity=10**5))
    verifier = VirtualVerifier(SWITCHING, engine.info, engines=VirtualEngines(engine, drafts(), 0.0001))
    drafters = [VirtualDrafter(verifier, f"drafter {i}", 0.6) for i in range(4)]
    requests = [open_request(number, (number, 7 * number % 256, 5), 40, sampling) for number in range(1, 65)]
    for request in requests:
        drafters[request.stream % 4].open(request)
    for delay_s in (0.2, 0.4):
        verifier.run(delay_s)
        for i, drafter in enumerate(drafters):
            drafter.reconnect(f"drafter {i}")
    verifier.run(60.0)
    texts = {stream: text for drafter in drafters for stream, text in drafter.texts.items()}
    assert texts == {request.stream: target_only_text(request) for request in requests}
    modes = np.sum([client.rounds_by_mode for client in verifier.core.stats().clients], axis=0)
    assert min(modes) > 20, modes


class DrawnDraft:
    """Draws from a draft model, with high confidence where the most likely token was drawn."""

    def __init__(self) -> None:
        self._model = ToyModel(VOCAB_SIZE, seed=2)
        self._streams: dict[StreamKey, tuple[list[int], Sampling]] = {}

    def open(self, stream: StreamKey, tokens: Sequence[int], sampling: Sampling) -> None:
        self._streams[stream] = (list(tokens), sampling)

    def draft(self, requests: Sequence[DraftRequest]) -> list[Draft]:
        return [self._draft(*self._streams[request.stream], request.max_tokens) for request in requests]

    def commit(self, stream: StreamKey, tokens: Sequence[int]) -> None:
        self._streams[stream][0].extend(tokens)

    def close(self, stream: StreamKey) -> None:
        del self._streams[stream]

    def _draft(self, prefix: Sequence[int], sampling: Sampling, num_tokens: int) -> Draft:
        tokens = list(prefix)
        probs, confidences = [], []
        for _ in range(num_tokens):
            probs.append(draft_probs_of(self._model.row(tokens), sampling, VOCAB_SIZE))
            tokens.append(draw(probs[-1], sampling, len(tokens), len(prefix)))
            is_most_likely = tokens[-1] == int(probs[-1].token_ids[np.argmax(probs[-1].weights)])
            confidences.append(0.98 if is_most_likely else 0.02)
        return Draft(tuple(tokens[len(prefix) :]), tuple(confidences), tuple(probs))


def test_sampled_texts_have_the_targets_distribution_whatever_the_modes() -> None:
    """Rounds with drawn proposals, with the verifier's own drafts and with none, under the rejection rule."""
    engine = ToyTarget(toy_info(vocab_size=VOCAB_SIZE, max_context=100, kv_capacity=10**6))
    guesses = ToyGuesses(0.7, ToyModel(VOCAB_SIZE))
    config = replace(SWITCHING, max_streams=NUM_TEXTS)
    verifier = VirtualVerifier(config, engine.info, engines=VirtualEngines(engine, guesses))
    drafter = VirtualDrafter(verifier, "edge", DrawnDraft())
    other = VirtualDrafter(verifier, "other", DrawnDraft())
    for number in range(1, NUM_TEXTS + 1):
        sampling = Sampling(TEMPERATURE, seed=number, rule=Rule.REJECTION)
        (drafter if number % 2 else other).open(open_request(number, PROMPT, LENGTH, sampling))
    verifier.run(600.0)
    counts = Counter(tuple(text[len(PROMPT) :]) for text in (drafter.texts | other.texts).values())
    assert sum(counts.values()) == NUM_TEXTS
    expected = {text: NUM_TEXTS * text_prob(text) for text in itertools.product(range(VOCAB_SIZE), repeat=LENGTH)}
    common = [text for text, number in expected.items() if number >= 5.0]
    rest = NUM_TEXTS - sum(expected[text] for text in common), NUM_TEXTS - sum(counts[text] for text in common)
    observed = [*(counts[text] for text in common), rest[1]]
    assert stats.chisquare(observed, [*(expected[text] for text in common), rest[0]]).pvalue > 1e-3
    modes = np.sum([client.rounds_by_mode for client in verifier.core.stats().clients], axis=0)
    assert min(modes) > 100, modes


def text_prob(text: Sequence[int]) -> float:
    model, prob = ToyModel(VOCAB_SIZE), 1.0
    sampling = Sampling(TEMPERATURE, rule=Rule.REJECTION)
    for i, token in enumerate(text):
        prob *= float(distribution(model.row([*PROMPT, *text[:i]]), sampling).probs()[token])
    return prob

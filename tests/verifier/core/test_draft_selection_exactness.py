"""Draft selection by value keeps sampled texts exact: a statistical test, which also detects a planted bug.

A drafter samples from its own distribution under the rejection rule, and its confidences reveal which token was drawn.
A greedy neighbour competes for a budget of half of what both propose. Texts have 3 tokens of a vocabulary of 4.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from msgspec.structs import replace
from scipy import stats
from tests.protocol.verdicts import verdict_on

from goodspeed.decoding.distribution import distribution
from goodspeed.decoding.draft import Draft, DraftRequest
from goodspeed.decoding.rules import draft_probs_of, draw
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.interface import Outcome, Prefill
from goodspeed.engine.toy_draft import ToyDraft
from goodspeed.engine.toy_model import ToyModel
from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.protocol.messages import PROTOCOL_VERSION, Open, Welcome
from goodspeed.protocol.session import DrafterStream, VerifierStream
from goodspeed.scheduling.co_located_length import CoLocatedPrices
from goodspeed.scheduling.policies import ESTIMATORS
from goodspeed.testing.virtual_verifier import open_request
from goodspeed.verifier.core.batch import Batch, Turn
from goodspeed.verifier.core.batch_builder import make_turn
from goodspeed.verifier.core.client import Client
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.core.served_streams import ServedStream
from goodspeed.verifier.step import proposal_path, select_draft_tokens

TurnOf = Callable[[ServedStream], Turn]
VOCAB_SIZE = 4
WELCOME = Welcome(PROTOCOL_VERSION, "verifier", "toy", "toy", VOCAB_SIZE, 10**6, 64, 16, ())
PROMPT, LENGTH, WINDOW = (1, 2, 3), 3, 2
NUM_TEXTS = 2500
TEMPERATURE = 4.0
SOUND, BROKEN = 1e-3, 1e-6  # the p-value of a sound rule is above, that of a planted bug below; seeds are fixed
DRAFT = ToyModel(VOCAB_SIZE, seed=2)


def sampling(seed: int) -> Sampling:
    return Sampling(TEMPERATURE, seed=seed, rule=Rule.REJECTION)


class Pair:
    """Both ends of one stream, and its state in the engine."""

    def __init__(self, engine: ToyTarget, client: Client, key: int, request: Open) -> None:
        self.drafter = DrafterStream(request)
        protocol = VerifierStream(request, WELCOME)
        self.stream = ServedStream(key, client, 1, protocol, 10**6, 0, 0.0)
        self.stream.siblings = {request.stream: self.stream}
        self._engine = engine
        engine.open(key, protocol.spec())
        self.conclude(engine.step([Prefill(key, len(request.tokens))])[0])

    def propose(self, draft: Draft) -> None:
        self.stream.proposal = None
        if self.drafter.is_ready:  # otherwise the stream is in target-only mode
            self.stream.proposal = self.drafter.propose(draft, 0.0)
            self.stream.protocol.on_propose(self.stream.proposal)

    def conclude(self, outcome: Outcome) -> None:
        draft_tokens = self.stream.proposal.tokens if self.stream.proposal else ()
        self.drafter.on_verdict(verdict_on(self.stream.protocol, outcome, WINDOW, draft_tokens))


def drawn(tokens: Sequence[int], num_tokens: int, seed: int) -> Draft:
    """A draft sampled from the draft model, with high confidence where the most likely token was drawn."""
    more: list[int] = []
    probs, confidences = [], []
    for _ in range(num_tokens):
        probs.append(draft_probs_of(DRAFT.row([*tokens, *more]), sampling(seed), VOCAB_SIZE))
        more.append(draw(probs[-1], sampling(seed), len(tokens) + len(more), len(tokens)))
        is_most_likely = more[-1] == int(probs[-1].token_ids[np.argmax(probs[-1].weights)])
        confidences.append(0.98 if is_most_likely else 0.02)
    return Draft(tuple(more), tuple(confidences), tuple(probs))


def texts(turn_of: TurnOf) -> Iterator[tuple[int, ...]]:
    """The texts of seeds 0, 1, ..., each beside the endless stream of the neighbour."""
    engine = ToyTarget(toy_info(vocab_size=VOCAB_SIZE, max_context=10**6, kv_capacity=10**9))
    client, neighbour = (Client(name, ESTIMATORS["censored"](0.1, 0.05)) for name in ("sampled", "greedy"))
    keys = itertools.count(2)
    other = Pair(engine, neighbour, 1, open_request(1, PROMPT, max_tokens=10**5))
    other_drafts = ToyDraft(0.5, ToyModel(VOCAB_SIZE))
    other_drafts.open(1, other.drafter.committed, Sampling())
    for seed in range(NUM_TEXTS):
        mine = Pair(engine, client, next(keys), open_request(1, PROMPT, LENGTH, sampling(seed)))
        while not mine.stream.protocol.is_finished:
            mine.propose(drawn(mine.drafter.committed, mine.drafter.max_draft, seed))
            other.propose(other_drafts.draft([DraftRequest(1, WINDOW)])[0])
            pairs = [mine, other]
            turns = tuple(turn_of(pair.stream) for pair in pairs)
            paths = [proposal_path(turn) for turn in turns]
            work = select_draft_tokens(Batch((), turns, budget=WINDOW), paths)
            for pair, outcome in zip(pairs, engine.step(work), strict=True):
                if proposal := pair.stream.proposal:
                    num_tokens = len(proposal.tokens)
                    pair.stream.client.on_proposal_verified(num_tokens, outcome.num_accepted)
                    pair.stream.client.reliability.on_verdict(proposal.confidences, outcome.num_accepted)
                begin = len(pair.drafter.committed)
                pair.conclude(outcome)
                if pair is other:
                    other_drafts.commit(1, pair.drafter.committed[begin:])
        engine.close(mine.stream.key)
        yield tuple(mine.drafter.committed[len(PROMPT) :])


def p_value(turn_of: TurnOf) -> float:
    """Chi-square of the texts against the target's distribution; rare texts count together."""
    counts = Counter(texts(turn_of))
    common = {text: number for text in all_texts() if (number := NUM_TEXTS * text_prob(text)) >= 5.0}
    observed = [counts[text] for text in common]
    observed.append(NUM_TEXTS - sum(observed))
    expected = [*common.values(), NUM_TEXTS - sum(common.values())]
    return float(stats.chisquare(observed, expected).pvalue)


def all_texts() -> list[tuple[int, ...]]:
    return list(itertools.product(range(VOCAB_SIZE), repeat=LENGTH))


def text_prob(text: Sequence[int]) -> float:
    target, prob = ToyModel(VOCAB_SIZE), 1.0
    for i, token in enumerate(text):
        prob *= float(distribution(target.row([*PROMPT, *text[:i]]), sampling(0)).probs()[token])
    return prob


def sound(stream: ServedStream) -> Turn:
    return make_turn(stream, VerifierCoreConfig(co_located_tokens=0), CoLocatedPrices())


def by_confidence(stream: ServedStream) -> Turn:
    """The planted bug: every proposal is ranked by its confidences."""
    confidences = stream.proposal.confidences if stream.proposal else ()
    survival = stream.client.reliability.survival(confidences)
    return replace(sound(stream), survival=tuple(survival))


def test_selection_by_value_keeps_sampled_texts_exact() -> None:
    assert p_value(sound) > SOUND


def test_ranking_drawn_tokens_by_their_confidence_is_detected() -> None:
    assert p_value(by_confidence) < BROKEN

"""A draft model's cache follows the prefix: every token is read once, and the logits are those of a fresh read."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from goodspeed.decoding.draft import DraftRequest, StreamKey
from goodspeed.decoding.rules import verify
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.calibration import Calibration
from goodspeed.engine.draft_model import MIN_CAPACITY, PIECE, DraftModelRunner, StreamInput
from goodspeed.engine.draft_source import EVIDENCE_BITS, Prefix
from goodspeed.engine.neural_draft import NeuralDraft
from goodspeed.engine.neural_source import NUM_TOP_PROB_BUCKETS, NeuralSource, top_prob, top_prob_bucket
from goodspeed.engine.toy_model import TOY_VOCAB_SIZE, ToyModel
from goodspeed.errors import CapacityError

PROMPT = [97, 98, 99, 100, 101]
SAMPLINGS = [
    Sampling(),
    Sampling(temperature=0.8, seed=5, rule=Rule.COUPLED),
    Sampling(temperature=0.8, seed=5, rule=Rule.REJECTION),
]


class ToyReaderModel:
    """The toy target as a draft model: right at every token. Counts what it was made to read."""

    def __init__(self, max_context: int = 4096, memory: int = 8192) -> None:
        self.model = ToyModel()
        self.max_context = max_context
        self.caches: dict[StreamKey, list[int]] = {}
        self.num_read = 0
        self._memory = memory
        self._reserved: dict[StreamKey, int] = {}

    @property
    def vocab_size(self) -> int:
        return TOY_VOCAB_SIZE

    def open(self, stream: StreamKey, capacity: int) -> None:
        if sum(self._reserved.values()) + capacity > self._memory:
            raise CapacityError(f"no memory for {capacity} tokens")
        assert stream not in self.caches
        self.caches[stream] = []
        self._reserved[stream] = capacity

    def run(self, inputs: Sequence[StreamInput]) -> npt.NDArray[np.float32]:
        for new in inputs:
            assert new.tokens
            assert new.num_cached <= len(self.caches[new.stream])
            self.caches[new.stream][new.num_cached :] = new.tokens
            assert len(self.caches[new.stream]) <= self._reserved[new.stream]
            self.num_read += len(new.tokens)
        return np.stack([self.model.row(self.caches[new.stream]) for new in inputs])

    def close(self, stream: StreamKey) -> None:
        del self.caches[stream]
        del self._reserved[stream]


def pair(max_context: int = 4096, memory: int = 8192, num_kept: int = 0) -> tuple[ToyReaderModel, NeuralDraft]:
    model = ToyReaderModel(max_context, memory)
    return model, NeuralDraft(DraftModelRunner(model, TOY_VOCAB_SIZE, num_kept=num_kept), Calibration())


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=lambda sampling: sampling.rule.name)
def test_model_that_is_the_target_is_always_accepted(sampling: Sampling) -> None:
    model, engine = pair()
    tokens = list(PROMPT)
    engine.open(1, tokens, sampling)
    for _ in range(12):
        draft = engine.draft([DraftRequest(1, 3)])[0]
        rows = np.stack([model.model.row([*tokens, *draft.tokens[:i]]) for i in range(4)])
        num_accepted, next_token = verify(rows, draft.tokens, draft.draft_probs, sampling, len(tokens))
        # Under rejection the distribution sent is cut to 32 tokens and quantised, so a little less than all.
        assert num_accepted == 3 or sampling.rule is Rule.REJECTION
        committed = [*draft.tokens[:num_accepted], next_token]
        tokens += committed
        engine.commit(1, committed)


def test_every_token_is_read_once_when_all_are_accepted() -> None:
    model, engine = pair()
    tokens = list(PROMPT)
    engine.open(1, tokens, Sampling())
    for _ in range(5):
        draft = engine.draft([DraftRequest(1, 4)])[0]
        committed = [*draft.tokens, model.model.top([*tokens, *draft.tokens])]
        tokens += committed
        engine.commit(1, committed)
    # The last round's last draft token and the bonus token are read by the next round.
    assert model.num_read == len(tokens) - 2
    (cache,) = model.caches.values()
    assert cache == tokens[:-2]


def test_continued_draft_reads_no_token_twice() -> None:
    model, engine = pair()
    engine.open(1, PROMPT, Sampling())
    drafted = engine.draft([DraftRequest(1, 3)])[0].tokens
    for _ in range(4):
        drafted += engine.draft([DraftRequest(1, 1, after=drafted)])[0].tokens
    assert model.num_read == len(PROMPT) + 6
    engine.commit(1, drafted[:4])
    engine.draft([DraftRequest(1, 1, after=drafted[4:])])
    assert model.caches[1] == [*PROMPT, *drafted]
    assert model.num_read == len(PROMPT) + 7


def test_calibration_learns_from_all_parts_of_a_continued_draft() -> None:
    _, engine = pair()
    engine.open(1, PROMPT, Sampling())
    drafted = engine.draft([DraftRequest(1, 2)])[0].tokens
    drafted += engine.draft([DraftRequest(1, 2, after=drafted)])[0].tokens
    engine.draft([DraftRequest(1, 2, after=(*drafted[:3], 7))])
    engine.commit(1, drafted[:2])
    engine.commit(1, [drafted[2], 7])
    learned = engine.calibration.arrays()
    coarse = learned["counts"][learned["buckets"] % 2 == 0]
    assert coarse.sum(axis=0).tolist() == [3, 4]  # the token that was to follow, instead of 7, was wrong


def test_rejected_tokens_are_overwritten() -> None:
    model, engine = pair()
    engine.open(1, PROMPT, Sampling())
    drafted = engine.draft([DraftRequest(1, 4)])[0].tokens
    other = 200 if drafted[1] != 200 else 201
    engine.commit(1, [drafted[0], other])
    engine.draft([DraftRequest(1, 1)])
    assert model.caches[1] == [*PROMPT, drafted[0], other]
    assert model.num_read == len(PROMPT) + 3 + 1  # drafting four reads three of them


def test_long_prompt_is_read_in_pieces() -> None:
    model, engine = pair()
    prompt = [int(token) for token in np.random.default_rng(0).integers(0, 256, 1500)]
    engine.open(1, prompt, Sampling())
    assert engine.draft([DraftRequest(1, 1)])[0].tokens == (model.model.top(prompt),)
    assert model.num_read == 1500


def test_cache_grows_with_the_answer() -> None:
    model, engine = pair()
    tokens = list(PROMPT)
    engine.open(1, tokens, Sampling())
    for _ in range(150):
        draft = engine.draft([DraftRequest(1, 5)])[0]
        assert len(draft.tokens) == 5
        committed = [*draft.tokens, model.model.top([*tokens, *draft.tokens])]
        tokens += committed
        engine.commit(1, committed)
    assert len(tokens) > MIN_CAPACITY
    (cache,) = model.caches.values()
    assert cache == tokens[:-2]


def test_nothing_is_drafted_beyond_the_models_context() -> None:
    _, engine = pair(max_context=8)
    engine.open(1, PROMPT, Sampling())
    engine.open(2, PROMPT * 2, Sampling())
    drafts = engine.draft([DraftRequest(1, 9), DraftRequest(2, 9)])
    assert [len(draft.tokens) for draft in drafts] == [4, 0]  # after 8 tokens read, one more can be drafted
    engine.commit(2, [1])
    engine.close(2)


def test_continued_draft_ends_at_the_models_context() -> None:
    """Run-ahead may ask for more than the draft model can read."""
    _, engine = pair(max_context=8)
    engine.open(1, PROMPT, Sampling())
    drafted = engine.draft([DraftRequest(1, 3)])[0].tokens
    for length in (1, 0, 0):
        more = engine.draft([DraftRequest(1, 1, after=drafted)])[0].tokens
        assert len(more) == length
        drafted += more
    engine.commit(1, drafted)
    assert engine.draft([DraftRequest(1, 1)])[0].tokens == ()


def test_stream_without_cache_memory_gets_an_empty_draft() -> None:
    model, engine = pair(memory=MIN_CAPACITY)
    for stream in (1, 2):
        engine.open(stream, PROMPT, Sampling())
    drafts = engine.draft([DraftRequest(1, 2), DraftRequest(2, 2)])
    assert [len(draft.tokens) for draft in drafts] == [2, 0]
    engine.close(1)
    engine.close(2)
    assert model.caches == {}


def test_streams_are_drafted_together_and_apart_alike() -> None:
    _, together = pair()
    _, apart = pair()
    for engine in (together, apart):
        engine.open(1, PROMPT, Sampling())
        engine.open(2, PROMPT[::-1], Sampling())
    requests = [DraftRequest(1, 2), DraftRequest(2, 5)]
    assert together.draft(requests) == [apart.draft([request])[0] for request in requests]


def test_closed_stream_frees_its_cache() -> None:
    model, engine = pair()
    engine.open(1, PROMPT, Sampling())
    engine.close(1)
    assert model.caches == {}


def test_the_next_turn_of_a_conversation_reads_only_what_is_new() -> None:
    model, engine = pair(num_kept=2)
    first = PROMPT * 10
    engine.open(1, first, Sampling())
    engine.draft([DraftRequest(1, 4)])  # rejected: its tokens are in the cache, and not in the text
    engine.commit(1, [7])
    engine.close(1)
    second = [*first, 7, *PROMPT]
    model.num_read = 0
    engine.open(2, second, Sampling())
    (draft,) = engine.draft([DraftRequest(2, 1)])
    assert model.num_read == 1 + len(PROMPT)
    _, fresh = pair()
    fresh.open(2, second, Sampling())
    assert draft.tokens == fresh.draft([DraftRequest(2, 1)])[0].tokens
    engine.close(2)
    engine.open(3, PROMPT[::-1] * 10, Sampling())  # another conversation
    engine.close(3)
    assert len(model.caches) == 2


def test_kept_caches_yield_their_memory() -> None:
    model, engine = pair(memory=2 * MIN_CAPACITY, num_kept=8)
    for stream in range(5):
        engine.open(stream, [stream] * 50, Sampling())
        assert len(engine.draft([DraftRequest(stream, 2)])[0].tokens) == 2
        engine.close(stream)
    assert len(model.caches) == 2


def test_confidence_is_learned() -> None:
    """A model that is never right, however sure it is, stops proposing."""
    model, engine = pair()
    tokens = list(PROMPT)
    engine.open(1, tokens, Sampling())
    for _ in range(150):
        engine.draft([DraftRequest(1, 1)])
        tokens.append((model.model.top(tokens) + 1) % 256)
        engine.commit(1, tokens[-1:])
    assert engine.draft([DraftRequest(1, 4, 0.2)])[0].tokens == ()


def test_rejection_stops_without_looking_at_the_drawn_token() -> None:
    """Whatever the seed draws, the same prefix is drafted as far: length is a function of the prefix."""
    lengths = set()
    for seed in range(20):
        _, engine = pair()
        engine.open(1, PROMPT, Sampling(temperature=1.0, seed=seed, rule=Rule.REJECTION))
        lengths.add(min(1, len(engine.draft([DraftRequest(1, 1, 0.4)])[0].tokens)))
    assert len(lengths) == 1


def test_source_guesses_a_function_of_the_prefix_under_rejection() -> None:
    tokens = set()
    for seed in range(5):
        source = NeuralSource(DraftModelRunner(ToyReaderModel(), TOY_VOCAB_SIZE))
        prefix = Prefix(1, PROMPT, Sampling(temperature=1.0, seed=seed, rule=Rule.REJECTION))
        source.open(prefix)
        guess = source.guesses([prefix])[0]
        assert guess
        tokens.add(guess >> EVIDENCE_BITS)
    assert len(tokens) == 1


def test_padded_vocabulary_is_cut() -> None:
    reader = DraftModelRunner(ToyReaderModel(), vocab_size=100)
    prefix = Prefix(1, PROMPT, Sampling())
    reader.open(prefix)
    assert reader.rows([prefix]).shape == (1, 100)


def test_share_of_the_likeliest_token() -> None:
    row = np.log(np.array([0.5, 0.25, 0.25], dtype=np.float32))
    assert top_prob(row, Sampling()) == pytest.approx(0.5, abs=1e-6)
    assert top_prob(row, Sampling(temperature=0.5, rule=Rule.COUPLED)) == pytest.approx(2 / 3, abs=1e-6)
    assert top_prob_bucket(0.0) == 0
    assert top_prob_bucket(1.0) == NUM_TOP_PROB_BUCKETS - 1
    assert top_prob_bucket(0.5) < top_prob_bucket(0.9) < top_prob_bucket(0.99)


LONG = [97 + i % 7 for i in range(5 * PIECE)]


def test_long_text_is_read_in_pieces_between_drafts() -> None:
    model, engine = pair()
    engine.read_later()
    engine.open(1, LONG, Sampling())
    assert model.num_read == 0
    request = [DraftRequest(1, 4)]
    assert engine.draft(request)[0].tokens == ()
    num_pieces = 0
    while engine.catch_up():
        num_pieces += 1
        assert model.num_read == num_pieces * PIECE
    assert num_pieces == 4
    _, eager = pair()
    eager.open(1, LONG, Sampling())
    assert engine.draft(request)[0].tokens == eager.draft(request)[0].tokens


def test_short_text_is_read_when_its_stream_opens() -> None:
    model, engine = pair()
    engine.read_later()
    engine.open(1, PROMPT, Sampling())
    assert model.num_read == len(PROMPT) - 1
    assert not engine.catch_up()
    assert len(engine.draft([DraftRequest(1, 4)])[0].tokens) == 4


def test_stream_with_least_left_is_read_first() -> None:
    _, engine = pair()
    engine.read_later()
    engine.open(1, LONG, Sampling())
    engine.open(2, LONG[: 2 * PIECE], Sampling())
    engine.catch_up()
    drafts = engine.draft([DraftRequest(1, 2), DraftRequest(2, 2)])
    assert [len(draft.tokens) for draft in drafts] == [0, 2]


def test_text_that_was_committed_without_drafts_is_read_between_drafts() -> None:
    """So a stream that returns from local rounds drafts as one that never left."""
    model, engine = pair()
    engine.read_later()
    engine.open(1, PROMPT, Sampling())
    engine.commit(1, LONG[: PIECE - 1])
    assert not engine.catch_up(), "little is read with the next draft"
    engine.commit(1, LONG[PIECE - 1 : 3 * PIECE])
    while engine.catch_up():
        pass
    num_read = model.num_read
    drafted = engine.draft([DraftRequest(1, 4)])[0].tokens
    assert model.num_read - num_read <= PIECE + 4
    _, eager = pair()
    eager.open(1, [*PROMPT, *LONG[: 3 * PIECE]], Sampling())
    assert drafted == eager.draft([DraftRequest(1, 4)])[0].tokens


def test_text_beyond_the_cache_is_read_into_a_larger_one() -> None:
    _, engine = pair()
    engine.read_later()
    engine.open(1, PROMPT, Sampling())
    for _ in range(2 * MIN_CAPACITY // PIECE):
        engine.commit(1, LONG[:PIECE])
        while engine.catch_up():
            pass
    request = [DraftRequest(1, 2)]
    assert engine.draft(request)[0].tokens == (), "the larger cache is empty"
    while engine.catch_up():
        pass
    assert len(engine.draft(request)[0].tokens) == 2

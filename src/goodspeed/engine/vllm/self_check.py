"""A check when the engine is loaded: the log-probabilities of a fixed text, and whether they depend on the batch."""

import hashlib
from collections.abc import Sequence
from struct import pack

from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.interface import Outcome, Prefill, StreamSpec, TargetEngine, Verify, Work

NUM_PROMPT, NUM_ANSWER, NUM_OTHER = 24, 24, 40
CHUNKS = (17, 7)
DRAFT_LENGTHS = (1, 8, 3, 5)

Logprobs = tuple[float, ...]


def numerics_fingerprint(engine: TargetEngine, precision: str, first_key: int) -> str:
    """16 hex digits: a hash of the log-probabilities of the answer to a fixed prompt, and of `precision`.

    It depends on weights, number formats and the machine's rounding. Stream keys from `first_key` are used.
    """
    tokens, logprobs = _answer(engine, first_key)
    return hashlib.sha256(precision.encode() + pack(f"{len(tokens)}I", *tokens) + _bits(logprobs)).hexdigest()[:16]


def is_batch_invariant(engine: TargetEngine, first_key: int) -> bool:
    """Whether another chunking of prompt and answer, beside another stream, gives the same bits."""
    tokens, logprobs = _answer(engine, first_key)
    again = _verified(engine, first_key + 1, tokens)
    return _bits(logprobs) == _bits(again)


def _answer(engine: TargetEngine, key: int) -> tuple[list[int], Logprobs]:
    """The greedy answer, token by token, in a batch of its own."""
    engine.open(key, _spec(_prompt(engine, NUM_PROMPT)))
    outcomes = engine.step([Prefill(key, NUM_PROMPT)])
    while len(outcomes) < NUM_ANSWER:
        outcomes += engine.step([Verify(key, ())])
    engine.close(key)
    tokens = [outcome.next_token for outcome in outcomes if outcome.next_token is not None]
    return tokens, _joined(outcomes)


def _verified(engine: TargetEngine, key: int, answer: Sequence[int]) -> Logprobs:
    """The log-probabilities of the same answer as draft tokens, beside a prompt of another stream."""
    other, spec = key + 1, _spec(_prompt(engine, NUM_PROMPT))
    engine.open(key, spec)
    engine.open(other, _spec(_prompt(engine, NUM_PROMPT + NUM_OTHER)[NUM_PROMPT:]))
    outcomes = [outcome for size in CHUNKS for outcome in engine.step([Prefill(key, size)])]
    num_done, num_left = 1, NUM_OTHER
    for length in DRAFT_LENGTHS * NUM_ANSWER:
        draft = tuple(answer[num_done : num_done + length])
        if not draft:
            break
        batch: list[Work] = [Verify(key, draft)]
        if num_left:
            batch.append(Prefill(other, NUM_OTHER // 4))
            num_left -= NUM_OTHER // 4
        outcome = engine.step(batch)[0]
        outcomes.append(outcome)
        num_done += outcome.num_accepted + 1
    engine.close(key)
    engine.close(other)
    return _joined(outcomes)[:NUM_ANSWER]


def _prompt(engine: TargetEngine, length: int) -> tuple[int, ...]:
    return tuple((7919 * i + 11) % engine.info.num_tokens for i in range(length))


def _spec(tokens: tuple[int, ...]) -> StreamSpec:
    return StreamSpec(tokens, Sampling(), len(tokens) + 2 * NUM_ANSWER, logprobs=True)


def _joined(outcomes: Sequence[Outcome]) -> Logprobs:
    return tuple(logprob for outcome in outcomes for logprob in outcome.logprobs)


def _bits(logprobs: Logprobs) -> bytes:
    return pack(f"{len(logprobs)}f", *logprobs)

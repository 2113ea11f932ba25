"""A check when the engine is loaded: the log-probabilities of a fixed text, and whether they depend on the batch."""

import hashlib
from collections.abc import Sequence
from struct import pack

from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.interface import Outcome, Prefill, StreamSpec, TargetEngine, Verify, Work

NUM_PROMPT, NUM_ANSWER, NUM_OTHER = 24, 24, 40
CHUNKS = (17, 7)
LONG_PROMPT, LONG_CHUNK = 1300, 90
"""Attention over many keys may be computed in another way; every chunk but the last has LONG_CHUNK tokens."""
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
    return _bits(logprobs) == _bits(again) and _is_long_prompt_invariant(engine, first_key + 3)


def _answer(engine: TargetEngine, key: int) -> tuple[list[int], Logprobs]:
    """The greedy answer, token by token, in a batch of its own."""
    engine.open(key, _spec(key, _prompt(engine, NUM_PROMPT)))
    outcomes = engine.step([Prefill(key, NUM_PROMPT)])
    while len(outcomes) < NUM_ANSWER:
        outcomes += engine.step([Verify(key, ())])
    engine.close(key)
    tokens = [outcome.next_token for outcome in outcomes if outcome.next_token is not None]
    return tokens, _joined(outcomes)


def _verified(engine: TargetEngine, key: int, answer: Sequence[int]) -> Logprobs:
    """The log-probabilities of the same answer as draft tokens, beside a prompt of another stream."""
    other = key + 1
    engine.open(key, _spec(key, _prompt(engine, NUM_PROMPT)))
    engine.open(other, _spec(other, _prompt(engine, NUM_PROMPT + NUM_OTHER)[NUM_PROMPT:]))
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


def _is_long_prompt_invariant(engine: TargetEngine, first_key: int) -> bool:
    """Compares a long prompt in one chunk and in many."""
    length = min(LONG_PROMPT, engine.info.max_context - 2 * NUM_ANSWER)
    logprobs = []
    for key, chunk in ((first_key, length), (first_key + 1, LONG_CHUNK)):
        engine.open(key, _spec(key, _prompt(engine, length)))
        outcomes = [engine.step([Prefill(key, min(chunk, length - start))])[0] for start in range(0, length, chunk)]
        logprobs.append(_bits(_joined(outcomes)))
        engine.close(key)
    return logprobs[0] == logprobs[1]


def _prompt(engine: TargetEngine, length: int) -> tuple[int, ...]:
    return tuple((7919 * i + 11) % engine.info.num_tokens for i in range(length))


def _spec(key: int, tokens: tuple[int, ...]) -> StreamSpec:
    """Of a client of its own, since clients share no cached prefix."""
    return StreamSpec(tokens, Sampling(), len(tokens) + 2 * NUM_ANSWER, logprobs=True, client=str(key))


def _joined(outcomes: Sequence[Outcome]) -> Logprobs:
    return tuple(logprob for outcome in outcomes for logprob in outcome.logprobs)


def _bits(logprobs: Logprobs) -> bytes:
    return pack(f"{len(logprobs)}f", *logprobs)

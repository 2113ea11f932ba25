"""Random conversations of eight streams over two verifiers with too little KV memory: no text differs, nothing leaks.

Each episode has a seed, greedy or coupled sampling, and eight turns of every conversation in virtual time. At random,
links are cut, so that streams move, and answers are cancelled and requested again. Most answers end early, some do not.
Memory is short: prefixes are evicted and streams preempted. Each text is compared with the toy target's own. At the end
no stream may hold memory, and the verifier's count must be that of its engine.

    python -m runs.cache_soak --minutes 30
"""

import argparse
import sys
import time
from collections import Counter
from dataclasses import replace

import numpy as np

from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.drafter.core.core_config import DrafterCoreConfig
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.testing.virtual_drafter import ToyVerifier, VirtualClock, VirtualDrafterHost, target_only_tokens
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.step import run_batch

NUM_CONVERSATIONS, NUM_TURNS = 8, 8
KV_CAPACITY, KV_BLOCK = 720, 16
"""Tokens; a conversation grows to several hundred."""
MAX_ANSWER = 60
END_TOKENS = tuple(range(2, 250, 12))
"""Of the answers that may end early: about every twentieth token."""
LEASE_S = 2.0


class Conversation:
    """One user's conversation: its text so far, and the answer that is under way."""

    def __init__(self, drafter: VirtualDrafterHost, first: int, sampling: Sampling, rng: np.random.Generator) -> None:
        self._drafter, self._sampling, self._rng = drafter, sampling, rng
        self._prompt = tuple(range(first, first + 20))
        self.num_done = 0
        self._ask()

    @property
    def is_over(self) -> bool:
        return self.num_done == NUM_TURNS

    def _ask(self) -> None:
        end_tokens = END_TOKENS if self._rng.random() < 0.7 else ()
        self._request = GenerationRequest(self._prompt, MAX_ANSWER, self._sampling, end_tokens)
        self._key = self._drafter.open(self._request)

    def cancel_and_repeat(self) -> None:
        if not self.is_over:
            self._drafter.cancel(self._key)
            self._ask()

    def advance(self) -> None:
        """If the answer is there, compare it and send the next turn."""
        received = self._drafter.received[self._key]
        assert received.error is None, received.error
        if self.is_over or not received.finish:
            return
        assert received.tokens == target_only_tokens(self._request), f"turn {self.num_done} differs"
        self.num_done += 1
        self._prompt = (*self._prompt, *received.tokens, *self._new_words())
        if not self.is_over:
            self._ask()

    def _new_words(self) -> list[int]:
        words: list[int] = self._rng.integers(40, 250, size=self._rng.integers(2, 12)).tolist()
        return words


def episode(seed: int) -> Counter[str]:
    """Raises AssertionError if a text differs or memory is not accounted for. Returns what has happened."""
    rng = np.random.default_rng(seed)
    clock, config = VirtualClock(), VerifierCoreConfig(lease_s=LEASE_S)
    engines = [ToyTarget(toy_info(kv_capacity=KV_CAPACITY, kv_block=KV_BLOCK)) for _ in range(2)]
    verifiers = [ToyVerifier(clock, config, engine) for engine in engines]
    drafter = VirtualDrafterHost(clock, verifiers, replace(DrafterCoreConfig(), num_verifiers=2))
    clock.run(0.1)
    sampling = Sampling() if seed % 2 else Sampling(0.8, seed=seed, rule=Rule.COUPLED)
    conversations = [Conversation(drafter, 5 + 25 * i, sampling, rng) for i in range(NUM_CONVERSATIONS)]
    happened = Counter[str]()
    while not all(conversation.is_over for conversation in conversations):
        clock.run(float(rng.uniform(0.01, 0.3)))
        for conversation in conversations:
            conversation.advance()
        chance = rng.random()
        if chance < 0.03:
            drafter.cut(verifier=int(rng.integers(2)))
            happened["links cut"] += 1
        elif chance < 0.08:
            conversations[rng.integers(NUM_CONVERSATIONS)].cancel_and_repeat()
            happened["answers cancelled"] += 1
    clock.run(5 * LEASE_S)
    for verifier, engine in zip(verifiers, engines, strict=True):
        happened += finish(verifier, engine, clock.now)
    happened["turns"] += NUM_CONVERSATIONS * NUM_TURNS
    return happened


def finish(verifier: ToyVerifier, engine: ToyTarget, now: float) -> Counter[str]:
    """Nothing is open, and after a shutdown nothing is held."""
    stats = verifier.core.stats()
    assert (stats.load.open_streams, stats.load.queued_streams, stats.load.kv_used) == (0, 0, 0), stats.load
    assert engine.num_open == 0
    assert engine.num_reserved == stats.memory.num_retained
    verifier.core.on_shutdown(now)
    while batch := verifier.core.next_batch(now):
        verifier.core.on_verified(batch, run_batch(engine, batch), now, now)
    assert engine.num_reserved == verifier.core.stats().memory.num_retained == 0
    cache = stats.prefix_cache
    return Counter(
        {"preemptions": stats.memory.num_preemptions, "evictions": cache.num_evictions, "cached tokens": cache.num_hits}
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long episodes are started")
    parser.add_argument("--seed", type=int, default=1, help="of the first episode")
    args = parser.parse_args()
    happened, seed, started = Counter[str](), args.seed, time.monotonic()
    while time.monotonic() - started < 60.0 * args.minutes:
        happened += episode(seed)
        seed += 1
    print(f"{seed - args.seed} episodes:", ", ".join(f"{number} {what}" for what, number in happened.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The prefix cache: ended streams whose keys and values the engine keeps for new streams with the same first tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from goodspeed.decoding.draft import StreamKey
from goodspeed.engine.interface import CachedPrefix
from goodspeed.protocol.session import num_common
from goodspeed.verifier.core.outbox import VerifierOutbox

BLOCK: Final = 16
"""Tokens of a hashed block; a shorter common prefix is not found."""


@dataclass(frozen=True, slots=True, eq=False)
class RetainedSequence:
    """The committed tokens of an ended stream, without its last one, which was never run through the model."""

    key: StreamKey
    tokens: Sequence[int]
    blocks: Sequence[tuple[str, int]]
    """Of each whole block from the start: whose it is, and the hash of all tokens up to its end."""


@dataclass(frozen=True, slots=True)
class PrefixCacheStats:
    """The state of a prefix cache, and its totals."""

    num_tokens: int = 0
    """KV tokens of retained sequences."""
    num_lookups: int = 0
    """Streams that were opened while the cache was on."""
    num_queried: int = 0
    """Tokens of their prefixes."""
    num_hits: int = 0
    """Of these, tokens that were not read again."""
    num_evictions: int = 0
    """Sequences that were dropped for lack of memory."""


class PrefixCache:
    """Least recently used sequences are evicted first. Clients see their own sequences only, unless `is_shared`.

    A sequence that a stream of the outbox is to be opened from stays until the engine has the order to open it.
    """

    def __init__(self, max_tokens: int, is_shared: bool, outbox: VerifierOutbox) -> None:
        self._max_tokens = max_tokens
        self._is_shared = is_shared
        self._outbox = outbox
        self._sequences: dict[StreamKey, RetainedSequence] = {}  # the least recently used first
        self._by_block: dict[tuple[str, int], dict[StreamKey, None]] = {}
        self._num_tokens = self._num_lookups = self._num_queried = self._num_hits = self._num_evictions = 0

    def stats(self) -> PrefixCacheStats:
        return PrefixCacheStats(
            self._num_tokens, self._num_lookups, self._num_queried, self._num_hits, self._num_evictions
        )

    def touch(self, client: str, tokens: Sequence[int]) -> None:
        """The client waits to open a stream with this prefix: what it can use is evicted last."""
        self._find(self._blocks(client, tokens))

    def use(self, client: str, tokens: Sequence[int]) -> CachedPrefix | None:
        """What a stream that is opened now with this prefix need not read again; its last token is always read."""
        if not self._max_tokens:
            return None
        self._num_lookups += 1
        self._num_queried += len(tokens)
        sequence = self._find(self._blocks(client, tokens))
        num_cached = min(num_common(sequence.tokens, tokens), len(tokens) - 1) if sequence else 0
        if sequence is None or num_cached <= 0:
            return None
        self._num_hits += num_cached
        return CachedPrefix(sequence.key, num_cached)

    def retain(self, key: StreamKey, client: str, tokens: Sequence[int]) -> int:
        """Keep a stream that ends, with these tokens in the engine. Returns how many of them are kept: all or none.

        The caller must have freed the stream's own memory, which the sequence takes in part.
        """
        blocks = self._blocks(client, tokens)
        if not blocks:
            return 0
        similar = self._find(blocks)
        if similar:
            num_equal = num_common(similar.tokens, tokens)
            if num_equal == len(tokens):
                return 0
            if num_equal == len(similar.tokens) and not self._outbox.is_source(similar.key):
                self._drop(similar)  # the new sequence begins with all of it
        if not self.shrink(self._max_tokens - len(tokens)):
            return 0
        self._sequences[key] = RetainedSequence(key, tokens, blocks)
        for block in blocks:
            self._by_block.setdefault(block, {})[key] = None
        self._num_tokens += len(tokens)
        return len(tokens)

    def shrink(self, max_tokens: int) -> bool:
        """Evict sequences until at most `max_tokens` are kept. False if that is not possible at present."""
        if max_tokens < 0:
            return False
        for sequence in list(self._sequences.values()):
            if self._num_tokens <= max_tokens:
                break
            if not self._outbox.is_source(sequence.key):
                self._drop(sequence)
                self._num_evictions += 1
        return self._num_tokens <= max_tokens

    def _find(self, blocks: Sequence[tuple[str, int]]) -> RetainedSequence | None:
        """A sequence with the longest common prefix in whole blocks, by their hashes; it counts as used now."""
        keys: dict[StreamKey, None] = {}
        for block in blocks:
            longer = self._by_block.get(block)
            if not longer:
                break
            keys = longer
        if not keys:
            return None
        key = next(reversed(keys))
        sequence = self._sequences.pop(key)
        self._sequences[key] = sequence
        return sequence

    def _blocks(self, client: str, tokens: Sequence[int]) -> list[tuple[str, int]]:
        """RetainedSequence.blocks. A cache that is off has none."""
        if not self._max_tokens:
            return []
        owner = "" if self._is_shared else client
        blocks: list[tuple[str, int]] = []
        chain = 0
        for start in range(0, len(tokens) - BLOCK + 1, BLOCK):
            chain = hash((chain, *tokens[start : start + BLOCK]))
            blocks.append((owner, chain))
        return blocks

    def _drop(self, sequence: RetainedSequence) -> None:
        """Forget the sequence; the engine frees its memory with the next batch."""
        del self._sequences[sequence.key]
        for block in sequence.blocks:
            keys = self._by_block[block]
            del keys[sequence.key]
            if not keys:
                del self._by_block[block]
        self._num_tokens -= len(sequence.tokens)
        self._outbox.evict(sequence.key)

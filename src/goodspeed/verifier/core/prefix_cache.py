"""The prefix cache: what the engine holds that a new stream with the same first tokens can begin with.

These are the prompts of open streams, and the texts of ended ones that are retained as far as memory is left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from goodspeed.decoding.draft import StreamKey
from goodspeed.engine.interface import CachedPrefix
from goodspeed.protocol.session import num_common
from goodspeed.verifier.core.kv_ledger import KvLedger
from goodspeed.verifier.core.outbox import VerifierOutbox

BLOCK: Final = 16
"""Tokens of a hashed block; a shorter common prefix is not found."""
MAX_NAMES: Final = 2**16
"""Ended streams whose texts can be named; the names of the latest are kept."""


@dataclass(frozen=True, slots=True, eq=False)
class KnownSequence:
    """Tokens of a stream that were run through the model: the prompt while it is open, later all but the last."""

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
    """Least recently used sequences are evicted first. Clients see their own sequences only, unless `is_shared`."""

    def __init__(self, max_tokens: int, is_shared: bool, ledger: KvLedger, outbox: VerifierOutbox) -> None:
        self._max_tokens = max_tokens
        self._is_shared = is_shared
        self._ledger = ledger
        self._outbox = outbox
        self._retained: dict[StreamKey, KnownSequence] = {}  # the least recently used first
        self._open: dict[StreamKey, KnownSequence] = {}
        self._by_name: dict[tuple[str, int], StreamKey] = {}  # by client and its number of the stream
        self._by_block: dict[tuple[str, int], dict[StreamKey, None]] = {}
        self._num_tokens = self._num_lookups = self._num_queried = self._num_hits = self._num_evictions = 0

    def stats(self) -> PrefixCacheStats:
        return PrefixCacheStats(
            self._num_tokens, self._num_lookups, self._num_queried, self._num_hits, self._num_evictions
        )

    def find(self, client: str, tokens: Sequence[int]) -> CachedPrefix | None:
        """What a stream with this prefix need not read again; its last token is always read. It is evicted last."""
        sequence = self._find(self._blocks(client, tokens))
        num_cached = min(num_common(sequence.tokens, tokens), len(tokens) - 1) if sequence else 0
        return CachedPrefix(sequence.key, num_cached) if sequence and num_cached > 0 else None

    def on_opened(self, num_tokens: int, prefix: CachedPrefix | None) -> None:
        """A stream with a prefix of `num_tokens` was opened, and need not read the cached one: count it."""
        if self._max_tokens:
            self._num_lookups += 1
            self._num_queried += num_tokens
            self._num_hits += prefix.num_tokens if prefix else 0

    def add_open(self, key: StreamKey, client: str, prompt: Sequence[int]) -> None:
        """The engine has run the whole prompt of an open stream."""
        if blocks := self._blocks(client, prompt):
            self._open[key] = sequence = KnownSequence(key, prompt, blocks)
            self._index(sequence)

    def remove_open(self, key: StreamKey) -> None:
        """The open stream ends. Call it before retain."""
        if sequence := self._open.pop(key, None):
            self._remove_from_index(sequence)

    def text(self, client: str, stream: int) -> Sequence[int]:
        """What is retained of an ended stream of the client, by its number there; empty if nothing is."""
        sequence = self._retained.get(self._by_name.get((client, stream), 0))
        return sequence.tokens if sequence else ()

    def name(self, key: StreamKey, client: str, stream: int) -> None:
        """The client may refer to what is retained under this key by the stream's number."""
        self._by_name.pop((client, stream), None)
        self._by_name[client, stream] = key
        if len(self._by_name) > MAX_NAMES:
            del self._by_name[next(iter(self._by_name))]

    def retain(self, key: StreamKey, client: str, tokens: Sequence[int]) -> int:
        """Keep a stream that ends, with these tokens in the engine. Returns how many of them are kept: all or none."""
        blocks = self._blocks(client, tokens)
        similar = self._find(blocks)
        if similar and similar.key in self._retained:
            num_equal = num_common(similar.tokens, tokens)
            if num_equal == len(tokens):
                return 0
            if num_equal == len(similar.tokens):
                self._drop(similar)  # the new sequence begins with all of it
        if not blocks or len(tokens) > self._max_tokens:
            return 0
        while self._num_tokens + len(tokens) > self._max_tokens:
            self._evict()
        self._retained[key] = sequence = KnownSequence(key, tokens, blocks)
        self._index(sequence)
        self._num_tokens += len(tokens)
        self._ledger.retain(key, len(tokens))
        return len(tokens)

    def make_room(self, num_tokens: int, kept: StreamKey | None = None) -> bool:
        """Evict until this many tokens are free; False if that is not possible without the sequence `kept`."""
        while self._ledger.num_free < num_tokens:
            if not self._retained.keys() - {kept}:
                return False
            self._evict(kept)
        return True

    def clear(self) -> None:
        """Evict everything."""
        while self._retained:
            self._evict()

    def _evict(self, kept: StreamKey | None = None) -> None:
        self._drop(next(sequence for key, sequence in self._retained.items() if key != kept))
        self._num_evictions += 1

    def _find(self, blocks: Sequence[tuple[str, int]]) -> KnownSequence | None:
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
        if key in self._open:
            return self._open[key]
        self._retained[key] = sequence = self._retained.pop(key)
        return sequence

    def _blocks(self, client: str, tokens: Sequence[int]) -> list[tuple[str, int]]:
        """KnownSequence.blocks. A cache that is off has none."""
        if not self._max_tokens:
            return []
        owner = "" if self._is_shared else client
        blocks: list[tuple[str, int]] = []
        chain = 0
        for start in range(0, len(tokens) - BLOCK + 1, BLOCK):
            chain = hash((chain, *tokens[start : start + BLOCK]))
            blocks.append((owner, chain))
        return blocks

    def _index(self, sequence: KnownSequence) -> None:
        for block in sequence.blocks:
            self._by_block.setdefault(block, {})[sequence.key] = None

    def _remove_from_index(self, sequence: KnownSequence) -> None:
        for block in sequence.blocks:
            keys = self._by_block[block]
            del keys[sequence.key]
            if not keys:
                del self._by_block[block]

    def _drop(self, sequence: KnownSequence) -> None:
        """Forget the sequence; the engine frees its memory with the next batch."""
        del self._retained[sequence.key]
        self._remove_from_index(sequence)
        self._num_tokens -= len(sequence.tokens)
        self._ledger.drop(sequence.key)
        self._outbox.drop_prefix(sequence.key)

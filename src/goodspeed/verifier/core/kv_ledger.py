"""What the engine's KV memory holds by the core's count: the blocks of open streams and of retained sequences."""

from goodspeed.decoding.draft import StreamKey
from goodspeed.engine.block_table import BlockAllocator, BlockTable
from goodspeed.engine.interface import CachedPrefix, TargetInfo


class KvLedger:
    """Counts in tokens of whole blocks. Blocks that sequences share count once.

    It changes in the order of the updates that the engine gets, and grows before the step that needs it. So the engine
    never holds more than the ledger.
    """

    def __init__(self, info: TargetInfo) -> None:
        self.block = info.kv_block
        self._allocator = BlockAllocator(info.kv_capacity // info.kv_block, info.kv_block)
        self._open: dict[StreamKey, BlockTable] = {}
        self._retained: dict[StreamKey, BlockTable] = {}
        self._num_openers: dict[int, int] = {}  # by block, the open streams that have it

    @property
    def capacity(self) -> int:
        """Tokens in all."""
        return self._allocator.num_blocks * self.block

    @property
    def num_used(self) -> int:
        """Tokens in the blocks of open streams."""
        return len(self._num_openers) * self.block

    @property
    def num_free(self) -> int:
        """Tokens in free blocks."""
        return self._allocator.num_free * self.block

    @property
    def num_retained(self) -> int:
        """Tokens in the blocks that only retained sequences have: as many are free once all are dropped."""
        return self.capacity - self.num_free - self.num_used

    def in_blocks(self, num_tokens: int) -> int:
        """Tokens of the blocks that hold so many."""
        return self._allocator.num_for(num_tokens) * self.block

    def held(self, key: StreamKey) -> int:
        """Tokens in the blocks of an open stream, with those that it shares."""
        return len(self._open[key].blocks) * self.block

    def holds(self, key: StreamKey, num_tokens: int) -> bool:
        """True if an open stream need not grow to hold `num_tokens`."""
        return len(self._open[key].blocks) * self.block >= num_tokens

    def num_missing(self, key: StreamKey, num_tokens: int) -> int:
        """Tokens by which an open stream must grow to hold `num_tokens`."""
        return self._allocator.num_missing(self._open[key], num_tokens) * self.block

    def num_needed(self, num_tokens: int, prefix: CachedPrefix | None) -> int:
        """Tokens that a stream of this length takes from the free and the retained blocks."""
        needed = self.in_blocks(num_tokens)
        if prefix is None:
            return needed
        shared = self._table(prefix.source).blocks[: prefix.num_tokens // self.block]
        return needed - self.block * sum([block in self._num_openers for block in shared])

    def open(self, key: StreamKey, prefix: CachedPrefix | None) -> None:
        """A stream begins with the blocks of its prefix. Raises CapacityError if there is no block for a copied one."""
        table = self._allocator.fork(self._table(prefix.source), prefix.num_tokens) if prefix else BlockTable()
        self._open[key] = table
        self._add_opener(table.blocks)

    def grow(self, key: StreamKey, num_tokens: int) -> None:
        """An open stream takes the blocks that it lacks for `num_tokens`. Raises CapacityError."""
        self._add_opener(self._allocator.grow(self._open[key], num_tokens))

    def retain(self, key: StreamKey, num_tokens: int) -> None:
        """An open stream ends, and its first `num_tokens` tokens are kept."""
        table = self._open.pop(key)
        self._remove_opener(table.blocks)
        self._allocator.shorten(table, num_tokens)
        self._retained[key] = table

    def close(self, key: StreamKey) -> None:
        """An open stream ends."""
        table = self._open.pop(key)
        self._remove_opener(table.blocks)
        self._allocator.shorten(table, 0)

    def drop(self, key: StreamKey) -> None:
        """A retained sequence is dropped."""
        self._allocator.shorten(self._retained.pop(key), 0)

    def _table(self, key: StreamKey) -> BlockTable:
        return self._open[key] if key in self._open else self._retained[key]

    def _add_opener(self, blocks: list[int]) -> None:
        for block in blocks:
            self._num_openers[block] = self._num_openers.get(block, 0) + 1

    def _remove_opener(self, blocks: list[int]) -> None:
        for block in blocks:
            if self._num_openers[block] == 1:
                del self._num_openers[block]
            else:
                self._num_openers[block] -= 1

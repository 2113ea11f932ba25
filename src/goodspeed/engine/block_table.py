"""Tables of memory blocks: which blocks hold the keys and values of a sequence, where sequences may share blocks.

Engines and the verifier's core count memory with the same allocator, so that what the core admits fits the engine.
"""

from goodspeed.errors import CapacityError


class BlockTable:
    """The blocks of one sequence: token i is in blocks[i // block size]. Only its allocator changes it."""

    __slots__ = ("blocks",)

    def __init__(self) -> None:
        self.blocks: list[int] = []


class BlockAllocator:
    """Hands out blocks 0 .. num_blocks - 1. A block is free when no table has it.

    New blocks come in ascending order as far as possible, so that a sequence is mostly contiguous.
    """

    def __init__(self, num_blocks: int, block_tokens: int) -> None:
        self.num_blocks, self.block_tokens = num_blocks, block_tokens
        self._num_touched = 0  # blocks 0 .. _num_touched - 1 have been handed out before
        self._returned: list[int] = []  # free blocks among these, the next one last
        self._num_sharers: dict[int, int] = {}  # of blocks that several tables have

    @property
    def num_free(self) -> int:
        """Free blocks."""
        return self.num_blocks - self._num_touched + len(self._returned)

    def num_missing(self, table: BlockTable, num_tokens: int) -> int:
        """Blocks that the table lacks for this many tokens."""
        return max(0, self.num_for(num_tokens) - len(table.blocks))

    def num_for(self, num_tokens: int) -> int:
        """Blocks that this many tokens need."""
        return -(-num_tokens // self.block_tokens)

    def grow(self, table: BlockTable, num_tokens: int) -> list[int]:
        """Give the table blocks for `num_tokens` tokens, and return the new ones. Raises CapacityError."""
        new = self._take(self.num_missing(table, num_tokens))
        table.blocks += new
        return new

    def fork(self, source: BlockTable, num_tokens: int) -> BlockTable:
        """A table for `num_tokens` tokens that shares their whole blocks with `source`. Raises CapacityError."""
        table = BlockTable()
        num_shared = num_tokens // self.block_tokens
        own = self._take(self.num_for(num_tokens) - num_shared)
        table.blocks = source.blocks[:num_shared] + own
        for block in table.blocks[:num_shared]:
            self._num_sharers[block] = self._num_sharers.get(block, 1) + 1
        return table

    def shorten(self, table: BlockTable, num_tokens: int) -> list[int]:
        """Take the blocks after the first `num_tokens` tokens from the table, and return them."""
        num_kept = self.num_for(num_tokens)
        dropped = table.blocks[num_kept:]
        del table.blocks[num_kept:]
        for block in reversed(dropped):
            self._drop(block)
        return dropped

    def _take(self, num_blocks: int) -> list[int]:
        if num_blocks > self.num_free:
            size = self.block_tokens
            raise CapacityError(
                f"{num_blocks * size} KV tokens requested, {self.num_free * size} of {self.num_blocks * size} are free"
            )
        returned = [self._returned.pop() for _ in range(min(num_blocks, len(self._returned)))]
        start = self._num_touched
        self._num_touched += num_blocks - len(returned)
        return returned + list(range(start, self._num_touched))

    def _drop(self, block: int) -> None:
        num_sharers = self._num_sharers.pop(block, 1) - 1
        if num_sharers > 1:
            self._num_sharers[block] = num_sharers
        elif num_sharers == 0:
            self._returned.append(block)

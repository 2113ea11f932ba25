"""Block tables: every block is in a table or free, whatever is opened, forked, grown, shortened and freed."""

import random

import pytest

from goodspeed.engine.block_table import BlockAllocator, BlockTable
from goodspeed.errors import CapacityError

BLOCK = 16


def churn(allocator: BlockAllocator, rng: random.Random, num_operations: int) -> int:
    """Operations at random, each checked in number; returns how many found too few free blocks."""
    tables: list[BlockTable] = []
    num_full = 0
    for number in range(num_operations):
        operation = rng.choice(("open", "fork", "grow", "grow", "shorten", "free")) if tables else "open"
        one = rng.choice(tables) if tables else BlockTable()
        length = len(one.blocks) * BLOCK
        try:
            if operation == "open":
                table = BlockTable()
                allocator.grow(table, rng.randint(1, 8 * BLOCK))
                tables.append(table)
            elif operation == "fork":
                tables.append(allocator.fork(one, rng.randint(0, length)))
            elif operation == "grow":
                allocator.grow(one, length + rng.randint(1, 2 * BLOCK))
            elif operation == "shorten":
                allocator.shorten(one, rng.randint(0, length))
            else:
                allocator.shorten(one, 0)
                tables.remove(one)
        except CapacityError:
            num_full += 1
            for _ in range(min(3, len(tables))):
                allocator.shorten(tables.pop(rng.randrange(len(tables))), 0)
        if number % 50 == 0:
            check(allocator, tables)
    for table in tables:
        allocator.shorten(table, 0)
    return num_full


def check(allocator: BlockAllocator, tables: list[BlockTable]) -> None:
    held = {block for table in tables for block in table.blocks}
    assert allocator.num_free == allocator.num_blocks - len(held)
    assert all(0 <= block < allocator.num_blocks for block in held)
    assert all(len(set(table.blocks)) == len(table.blocks) for table in tables)


def test_no_block_leaks_in_many_operations() -> None:
    allocator = BlockAllocator(100, BLOCK)
    assert churn(allocator, random.Random(1), 10**5) > 1000
    assert allocator.num_free == 100


def test_a_new_table_has_no_block_of_another() -> None:
    rng = random.Random(2)
    allocator = BlockAllocator(40, BLOCK)
    tables: list[BlockTable] = []
    for _ in range(1000):
        table = BlockTable()
        try:
            allocator.grow(table, rng.randint(1, 100))
        except CapacityError:
            allocator.shorten(tables.pop(rng.randrange(len(tables))), 0)
            continue
        tables.append(table)
        assert len({block for one in tables for block in one.blocks}) == sum(len(one.blocks) for one in tables)


def test_a_fork_that_does_not_fit_changes_nothing() -> None:
    allocator = BlockAllocator(2, BLOCK)
    source = BlockTable()
    allocator.grow(source, 2 * BLOCK)
    with pytest.raises(CapacityError, match=f"{BLOCK} KV tokens requested, 0 of {2 * BLOCK} are free"):
        allocator.fork(source, BLOCK + 1)
    allocator.shorten(source, 0)
    assert allocator.num_free == 2


def test_blocks_of_a_new_table_follow_each_other() -> None:
    allocator = BlockAllocator(10, BLOCK)
    first, second = BlockTable(), BlockTable()
    allocator.grow(first, 4 * BLOCK)
    allocator.shorten(first, 0)
    allocator.grow(second, 3 * BLOCK)
    assert second.blocks == [0, 1, 2]

"""The KV pool: whatever fits in blocks fits, blocks are shared once, and nothing that a stream holds is overwritten."""

import os
import random
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from goodspeed.engine.block_table import BlockTable
from goodspeed.engine.torch.kv import BLOCK, KvPool, kv_bytes_per_token, slots
from goodspeed.errors import CapacityError
from goodspeed.models.model_config import ModelConfig

CONFIG = ModelConfig(
    model_type="llama",
    hidden_size=16,
    num_layers=2,
    num_heads=2,
    num_kv_heads=1,
    head_dim=8,
    intermediate_size=16,
    vocab_size=32,
    max_context=64,
)


def make_pool(num_blocks: int) -> KvPool:
    return KvPool(CONFIG, num_blocks * BLOCK, torch.float32, torch.device("cpu"))


def fill(pool: KvPool, table: BlockTable, positions: range, value: float) -> None:
    """Write `value` + position to each of these positions."""
    if positions:
        rows = torch.from_numpy(slots(table, positions))
        values = torch.arange(positions.start, positions.stop).float()[:, None].expand(-1, 16) + value
        for layer in range(CONFIG.num_layers):
            pool.write(layer, rows, values + layer)


def holds(pool: KvPool, table: BlockTable, num_tokens: int, value: float) -> bool:
    num_blocks = -(-num_tokens // BLOCK)
    blocks = pool.blocks([table], num_blocks)
    expected = torch.arange(num_tokens).float()[:, None] + value
    parts = [pool.read(layer, blocks).view(2, -1, 8)[:, :num_tokens] - layer for layer in range(CONFIG.num_layers)]
    return all(torch.equal(part, expected.expand_as(part)) for part in parts)


def test_keys_and_values_come_back_by_head() -> None:
    pool = make_pool(2)
    table = pool.reserve(3)
    keys_values = torch.arange(48.0).view(3, 16)
    pool.write(1, torch.from_numpy(slots(table, range(3))), keys_values)
    read = pool.read(1, pool.blocks([table], 1))
    assert torch.equal(read[:, 0, :3], keys_values.view(3, 2, 8).transpose(0, 1))


def test_a_full_pool_raises_an_error_with_the_numbers() -> None:
    pool = make_pool(3)
    pool.reserve(BLOCK + 1)
    with pytest.raises(CapacityError, match=f"{2 * BLOCK} KV tokens requested, {BLOCK} of {3 * BLOCK} are free"):
        pool.reserve(BLOCK + 1)
    assert pool.num_reserved == 2 * BLOCK


def test_a_table_grows_around_the_blocks_of_others() -> None:
    pool = make_pool(4)
    first, second = pool.reserve(BLOCK), pool.reserve(BLOCK)
    fill(pool, second, range(BLOCK), 500.0)
    pool.grow(first, 3 * BLOCK)
    fill(pool, first, range(3 * BLOCK), 1000.0)
    assert holds(pool, first, 3 * BLOCK, 1000.0)
    assert holds(pool, second, BLOCK, 500.0)


def test_a_fork_shares_whole_blocks_and_copies_the_last() -> None:
    pool = make_pool(5)
    source = pool.reserve(2 * BLOCK + 20)
    fill(pool, source, range(2 * BLOCK + 20), 500.0)
    fork = pool.fork(source, 2 * BLOCK + 5)
    assert pool.num_reserved == 4 * BLOCK
    fill(pool, fork, range(2 * BLOCK + 5, 2 * BLOCK + 30), 1000.0)
    assert holds(pool, source, 2 * BLOCK + 20, 500.0)
    assert holds(pool, fork, 2 * BLOCK + 5, 500.0)
    pool.free(source)
    assert pool.num_reserved == 3 * BLOCK
    assert holds(pool, fork, 2 * BLOCK + 5, 500.0)
    pool.free(fork)
    assert pool.num_reserved == 0


def test_a_shortened_table_keeps_its_first_blocks() -> None:
    pool = make_pool(3)
    table = pool.reserve(3 * BLOCK)
    fill(pool, table, range(3 * BLOCK), 500.0)
    pool.shorten(table, BLOCK + 1)
    other = pool.reserve(BLOCK)
    fill(pool, other, range(BLOCK), 1000.0)
    assert holds(pool, table, 2 * BLOCK, 500.0)


class Holding:
    """A table, and how many tokens were written to it."""

    def __init__(self, table: BlockTable, value: float, num_tokens: int) -> None:
        self.table, self.value, self.num_tokens = table, value, num_tokens


def churn(pool: KvPool, rng: random.Random, num_operations: int) -> None:
    """Open, fork, grow, shorten and free streams at random; after each operation one of them is checked."""
    held: list[Holding] = []
    for number in range(num_operations):
        value = 1000.0 * (number % 1000)
        try:
            match rng.choice(("open", "fork", "grow", "grow", "shorten", "free")) if held else "open":
                case "open":
                    num_tokens = rng.randint(1, 3 * BLOCK)
                    held.append(Holding(pool.reserve(num_tokens), value, num_tokens))
                    fill(pool, held[-1].table, range(num_tokens), value)
                case "fork":
                    source = rng.choice(held)
                    num_tokens = rng.randint(1, source.num_tokens)
                    held.append(Holding(pool.fork(source.table, num_tokens), source.value, num_tokens))
                case "grow":
                    one = rng.choice(held)
                    num_tokens = one.num_tokens + rng.randint(1, BLOCK)
                    pool.grow(one.table, num_tokens)
                    fill(pool, one.table, range(one.num_tokens, num_tokens), one.value)
                    one.num_tokens = num_tokens
                case "shorten":
                    one = rng.choice(held)
                    one.num_tokens = rng.randint(1, one.num_tokens)
                    pool.shorten(one.table, one.num_tokens)
                case "free":
                    pool.free(held.pop(rng.randrange(len(held))).table)
        except CapacityError:
            pool.free(held.pop(rng.randrange(len(held))).table)
        if held:
            one = rng.choice(held)
            assert holds(pool, one.table, one.num_tokens, one.value)
        assert pool.num_reserved == BLOCK * len({block for one in held for block in one.table.blocks})
    for one in held:
        pool.free(one.table)
    assert pool.num_reserved == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12))
def test_no_block_leaks_and_no_content_is_lost(seed: int, num_blocks: int) -> None:
    churn(make_pool(max(3, num_blocks)), random.Random(seed), 60)


def test_bytes_per_token_count_all_layers() -> None:
    assert kv_bytes_per_token(CONFIG, torch.bfloat16) == 2 * 2 * 8 * 2


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_memory_is_taken_as_it_is_written() -> None:
    def resident_bytes() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before = resident_bytes()
    pool = make_pool(2**21 // BLOCK)
    num_bytes = pool.capacity * kv_bytes_per_token(CONFIG, torch.float32)
    assert resident_bytes() - before < num_bytes / 8
    table = pool.reserve(pool.capacity)
    fill(pool, table, range(pool.capacity), 1.0)
    assert resident_bytes() - before >= num_bytes

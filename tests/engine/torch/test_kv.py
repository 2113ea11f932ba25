"""The KV pool: every admitted region fits, and moving regions keeps what they hold."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from goodspeed.engine.torch.kv import KvPool, Region, kv_bytes_per_token
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


def make_pool(capacity: int) -> KvPool:
    return KvPool(CONFIG, capacity, torch.float32, torch.device("cpu"))


def fill(pool: KvPool, region: Region, value: float) -> None:
    slots = torch.arange(region.start, region.start + region.length)
    for layer in range(CONFIG.num_layers):
        pool.write(layer, slots, torch.full((region.length, 16), value + layer))


def holds(pool: KvPool, region: Region, value: float) -> bool:
    blocks = pool.blocks(np.array([region.start]))
    rows = [pool.read(layer, blocks)[:, 0, : region.length] for layer in range(CONFIG.num_layers)]
    return all(bool((row == value + layer).all()) for layer, row in enumerate(rows))


def test_keys_and_values_come_back_by_head() -> None:
    pool = make_pool(8)
    region = pool.reserve(3)
    keys_values = torch.arange(48.0).view(3, 16)
    pool.write(1, torch.arange(region.start, region.start + 3), keys_values)
    read = pool.read(1, pool.blocks(np.array([[region.start + 2], [region.start]])))
    assert torch.equal(read[:, 0, 0], keys_values[2].view(2, 8))
    assert torch.equal(read[:, 1, :3], keys_values.view(3, 2, 8).transpose(0, 1))


def test_a_full_pool_raises_an_error_with_the_numbers() -> None:
    pool = make_pool(10)
    pool.reserve(7)
    with pytest.raises(CapacityError, match="4 KV tokens requested, 3 of 10 are free"):
        pool.reserve(4)
    assert pool.num_reserved == 7


def test_freed_rows_are_reserved_again() -> None:
    pool = make_pool(10)
    first, second = pool.reserve(4), pool.reserve(6)
    pool.free(first)
    assert pool.reserve(3).start == 0
    pool.free(second)
    assert pool.reserve(7).start == 3
    assert pool.num_reserved == 10


def test_gaps_that_are_too_short_are_compacted_and_regions_keep_their_content() -> None:
    pool = make_pool(12)
    regions = [pool.reserve(3) for _ in range(4)]
    for number, region in enumerate(regions):
        fill(pool, region, 10.0 * number)
    pool.free(regions[0])
    pool.free(regions[2])
    wide = pool.reserve(6)
    assert holds(pool, regions[1], 10.0)
    assert holds(pool, regions[3], 30.0)
    spans = sorted((one.start, one.start + one.length) for one in (wide, regions[1], regions[3]))
    assert spans == [(0, 3), (3, 9), (9, 12)]


def test_a_gap_is_made_where_the_fewest_rows_move() -> None:
    pool = make_pool(40)
    regions = [pool.reserve(length) for length in (2, 9, 3, 8, 5, 2, 3, 4)]  # 36 rows
    for number, region in enumerate(regions):
        fill(pool, region, 10.0 * number)
    starts = [region.start for region in regions]
    for freed in (0, 2, 4, 6):
        pool.free(regions[freed])
    kept = [1, 3, 5, 7]
    pool.reserve(7)  # between regions 3 and 7: only the 2 rows of region 5 move
    assert [regions[i].start - starts[i] for i in kept] == [0, 0, -5, 0]
    assert all(holds(pool, regions[i], 10.0 * i) for i in kept)


def test_a_shortened_region_keeps_its_first_rows_and_can_be_copied() -> None:
    pool = make_pool(12)
    source = pool.reserve(8)
    fill(pool, source, 10.0)
    pool.shorten(source, 5)
    assert pool.num_reserved == 5
    copy = pool.reserve(7)
    fill(pool, copy, 90.0)
    pool.copy(source, copy, 4)
    assert holds(pool, source, 10.0)
    assert holds(pool, Region(copy.start, 4), 10.0)
    assert holds(pool, Region(copy.start + 4, 3), 90.0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 5)), max_size=40))
def test_whatever_fits_in_sum_fits(moves: list[tuple[int, int]]) -> None:
    pool = make_pool(24)
    held: list[tuple[Region, float]] = []
    for number, (length, victim) in enumerate(moves):
        while pool.num_reserved + length > pool.capacity:
            pool.free(held.pop(victim % len(held))[0])
        held.append((pool.reserve(length), float(number)))
        fill(pool, *held[-1])
        assert all(holds(pool, region, value) for region, value in held)


def test_bytes_per_token_count_all_layers() -> None:
    assert kv_bytes_per_token(CONFIG, torch.bfloat16) == 2 * 2 * 8 * 2


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_memory_is_taken_as_it_is_written() -> None:
    def resident_bytes() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before = resident_bytes()
    pool = make_pool(2**21)
    num_bytes = pool.capacity * kv_bytes_per_token(CONFIG, torch.float32)
    assert resident_bytes() - before < num_bytes / 8
    region = pool.reserve(pool.capacity)
    fill(pool, region, 1.0)
    assert resident_bytes() - before >= num_bytes

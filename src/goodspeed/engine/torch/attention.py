"""Batch-invariant attention: the result for a stream does not depend on the other streams in the batch, to the bit.

A library chooses the summation order of a matrix product by its shape. So the number of keys that a token attends to is
a function of its position only: positions 128 s .. 128 s + 127 are one span and see exactly 128 (s + 1) keys, with
future keys masked. The new tokens of a stream in one span are a tile. The query heads that share a key head are rows
of one product. Tiles with equally many keys are computed by one batched product, which treats each tile separately. The
number of rows does not change the bits in oneDNN (bfloat16) from two rows on, nor in MKL (float32) for multiples of
four. The measurements are in docs/measurements/engine.md.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from goodspeed.engine.block_table import BlockTable
from goodspeed.engine.torch.batch import MIN_ROWS, Segment
from goodspeed.engine.torch.kv import BLOCK, KvPool

SPAN = 128
"""Positions that see equally many keys; a multiple of the pool's BLOCK."""
MIN_TILE_ROWS = 4
MAX_SMALL_TILE = 16
"""Tiles up to this many tokens (decoding, verification) share a product; larger ones (prefill) share another."""

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Heads:
    """Grouped-query attention: query head h reads key head h // group."""

    num_kv_heads: int
    group: int  # query heads per key head
    head_dim: int
    window: int | None = None  # sliding window: number of last positions, own included

    @property
    def num_query_heads(self) -> int:
        return self.num_kv_heads * self.group

    @property
    def num_parts(self) -> int:
        """Heads of the queries, keys and values of one token together."""
        return self.num_kv_heads * (self.group + 2)


@dataclass(frozen=True, slots=True)
class _Tile:
    """The new tokens of one stream in one span."""

    table: BlockTable
    first_token: int  # in the batch
    positions: range

    @property
    def num_keys(self) -> int:
        return (self.positions.start // SPAN + 1) * SPAN


class Attention:
    """The attention of one batch: index tensors and masks, computed once for all layers."""

    def __init__(self, heads: Heads, pool: KvPool, segments: Sequence[Segment]) -> None:
        self._head_dim = heads.head_dim
        groups: dict[tuple[int, bool], list[_Tile]] = defaultdict(list)
        for tile in _tiles(segments):
            groups[tile.num_keys, len(tile.positions) > MAX_SMALL_TILE].append(tile)
        self._products = [_Product(heads, pool, tiles) for tiles in groups.values()]
        self._sizes = [product.queries.size for product in self._products]
        queries = np.concatenate([product.queries.ravel() for product in self._products])
        self._gather = torch.from_numpy(_query_rows(queries, heads)).to(pool.device)
        self._scatter = torch.from_numpy(_result_rows(queries, heads.num_query_heads)).to(pool.device)

    def __call__(self, layer: int, qkv: torch.Tensor) -> torch.Tensor:
        """[tokens, query heads * head_dim] from qkv [tokens, parts * head_dim]: all queries, then keys, then values.

        Keys and values are read from the pool, so they must be written there before.
        """
        queries = qkv.view(-1, self._head_dim).index_select(0, self._gather).split(self._sizes)
        attended = [product(layer, part) for product, part in zip(self._products, queries, strict=True)]
        rows = attended[0] if len(attended) == 1 else torch.cat(attended)
        return rows.index_select(0, self._scatter).view(len(qkv), -1)


class _Product:
    """One batched product for tiles with equally many keys. Padding rows of a tile repeat its last token."""

    def __init__(self, heads: Heads, pool: KvPool, tiles: Sequence[_Tile]) -> None:
        self._heads, self._pool = heads, pool
        row = np.arange(_num_rows(heads.group, tiles))
        token = np.minimum(row // heads.group, np.array([[len(tile.positions) - 1] for tile in tiles]))  # [tiles, rows]
        tokens = token + np.array([[tile.first_token] for tile in tiles])
        heads_of = row % heads.group + heads.group * np.arange(heads.num_kv_heads)[:, None, None]
        self.queries: Indices = tokens * heads.num_query_heads + heads_of
        """[kv_heads, tiles, rows]: token * query heads + head."""
        positions = token + np.array([[tile.positions.start] for tile in tiles])
        num_keys = tiles[0].num_keys
        self._mask = _mask(torch.from_numpy(positions).to(pool.device), num_keys, heads.window, pool.dtype)
        self._blocks = pool.blocks([tile.table for tile in tiles], num_keys // BLOCK)

    def __call__(self, layer: int, queries: torch.Tensor) -> torch.Tensor:
        """[kv_heads * tiles * rows, head_dim] from the same."""
        num_tiles, num_rows, num_keys = self._mask.shape
        batch, head_dim = self._heads.num_kv_heads * num_tiles, self._heads.head_dim
        keys, values = self._pool.read(layer, self._blocks).view(2, batch, num_keys, head_dim)
        scores = torch.bmm(queries.view(batch, num_rows, head_dim), keys.transpose(1, 2))
        by_head = scores.view(-1, num_tiles, num_rows, num_keys)
        probs = torch.add(self._mask, by_head, alpha=head_dim**-0.5).softmax(-1)
        return torch.bmm(probs.view_as(scores), values).view(-1, head_dim)


def _tiles(segments: Sequence[Segment]) -> Iterator[_Tile]:
    first_token = 0
    for segment in segments:
        start = segment.positions.start
        while start < segment.positions.stop:
            stop = min(segment.positions.stop, (start // SPAN + 1) * SPAN)
            yield _Tile(segment.table, first_token, range(start, stop))
            first_token += stop - start
            start = stop


def _num_rows(group: int, tiles: Sequence[_Tile]) -> int:
    """A power of two, because oneDNN compiles a kernel for every new shape and caches about a thousand of them."""
    longest = max(len(tile.positions) for tile in tiles)
    return max(MIN_TILE_ROWS, 1 << (longest * group - 1).bit_length())


def _mask(positions: torch.Tensor, num_keys: int, window: int | None, dtype: torch.dtype) -> torch.Tensor:
    """[tiles, rows, keys]: 0 for keys that a row attends to, -inf for others; `positions` is [tiles, rows]."""
    keys = torch.arange(num_keys, device=positions.device)
    own = positions.unsqueeze(-1)
    is_hidden = keys > own
    if window is not None:
        is_hidden |= keys <= own - window
    return torch.zeros_like(is_hidden, dtype=dtype).masked_fill_(is_hidden, -torch.inf)


def _query_rows(queries: Indices, heads: Heads) -> Indices:
    """The rows of these queries among all parts of qkv."""
    return queries // heads.num_query_heads * heads.num_parts + queries % heads.num_query_heads


def _result_rows(queries: Indices, num_query_heads: int) -> Indices:
    """For each token's heads in order, a row of the products that holds its result."""
    rows = np.empty(queries.max() + 1, dtype=np.int64)
    rows[queries] = np.arange(queries.size)
    return np.resize(rows, max(rows.size, MIN_ROWS * num_query_heads))  # a single token is repeated

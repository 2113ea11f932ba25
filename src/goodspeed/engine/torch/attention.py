"""Attention of each stream to its own keys, in shapes that leave no trace of who else is in the batch.

A product of matrices sums in an order that its library chooses by its shape. So a token's shapes are a function of its
position alone: positions 64 b .. 64 b + 63 are one block, and attend to exactly 64 (b + 1) keys, those in the future
masked. A block's new tokens, times the query heads that share a key head, are the rows of one product, padded to a
multiple of 8, for which MKL and oneDNN treat every row alike. docs/engine.md has the measurements.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from goodspeed.engine.torch.batch import MIN_ROWS, Segment
from goodspeed.engine.torch.kv import BLOCK, KvPool

ROWS = 8


@dataclass(frozen=True, slots=True)
class Heads:
    """How query heads share key heads."""

    num_kv_heads: int
    group: int  # query heads per key head
    head_dim: int
    window: int | None = None  # attend to this many last positions, own included

    @property
    def width(self) -> int:
        """Elements of one token's keys."""
        return self.num_kv_heads * self.head_dim


@dataclass(frozen=True, slots=True)
class _Tile:
    """Query rows of one block of one stream, and what they attend to."""

    rows: slice
    keys: Sequence[torch.Tensor]  # per layer [1, kv_heads, keys, head_dim]
    values: Sequence[torch.Tensor]
    mask: torch.Tensor  # [1, 1, rows, keys]


class Attention:
    """One batch's attention: rows, views of the cache and masks, made once for all layers."""

    def __init__(self, heads: Heads, pool: KvPool, segments: Sequence[Segment]) -> None:
        self._heads = heads
        rows = _Rows(heads.group)
        blocks = [(one, block, rows.add(block)) for one in segments for block in _blocks(one.positions)]
        self._gather, self._scatter = rows.indices(pool.device)
        mask = _mask(torch.tensor(rows.positions, device=pool.device), heads.window, pool.dtype)
        self._tiles = [_tile(pool, one, block, where, mask) for one, block, where in blocks]

    def __call__(self, layer: int, qkv: torch.Tensor) -> torch.Tensor:
        """[tokens, heads * head_dim], heads ordered (place in group, key head) as the queries that `qkv` begins with.

        `qkv` is [tokens, (group + 2) * width]; keys and values, its last two parts, are read from the pool.
        """
        queries = qkv.view(-1, self._heads.width).index_select(0, self._gather)
        attended = [self._attend(tile, layer, queries[tile.rows]) for tile in self._tiles]
        rows = attended[0] if len(attended) == 1 else torch.cat(attended)
        return rows.index_select(0, self._scatter).view(len(qkv), -1)

    def _attend(self, tile: _Tile, layer: int, queries: torch.Tensor) -> torch.Tensor:
        """[rows, width] from [rows, width]."""
        per_head = queries.view(1, -1, self._heads.num_kv_heads, self._heads.head_dim).transpose(1, 2)
        out = F.scaled_dot_product_attention(per_head, tile.keys[layer], tile.values[layer], tile.mask)
        return out.transpose(1, 2).reshape(queries.shape)


class _Rows:
    """Lays out query rows: per block of a stream (token, place in group), padded to a multiple of ROWS."""

    def __init__(self, group: int) -> None:
        self.positions: list[int] = []
        self._group = group
        self._num_tokens = 0
        self._gather: list[int] = []
        self._scatter: list[int] = []

    def add(self, block: range) -> slice:
        """The rows of one more block; blocks come in the order of the batch's tokens."""
        start, num_parts = len(self.positions), self._group + 2
        tokens = range(self._num_tokens, self._num_tokens + len(block))
        rows = [token * num_parts + place for token in tokens for place in range(self._group)]
        padding = -len(rows) % ROWS
        self._gather += rows + rows[-1:] * padding
        self._scatter += range(start, start + len(rows))
        self.positions += [position for position in block for _ in range(self._group)] + [block[-1]] * padding
        self._num_tokens = tokens.stop
        return slice(start, len(self.positions))

    def indices(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Where padded rows come from in the parts of qkv, and where the tokens' rows are among the padded ones."""
        repeated = self._scatter[-self._group :] * max(0, MIN_ROWS - self._num_tokens)
        return torch.tensor(self._gather, device=device), torch.tensor(self._scatter + repeated, device=device)


def _blocks(positions: range) -> Iterator[range]:
    """The positions, cut where a block begins."""
    start = positions.start
    while start < positions.stop:
        stop = min(positions.stop, (start // BLOCK + 1) * BLOCK)
        yield range(start, stop)
        start = stop


def _tile(pool: KvPool, segment: Segment, block: range, rows: slice, mask: torch.Tensor) -> _Tile:
    num_keys = (block.start // BLOCK + 1) * BLOCK
    keys, values = pool.read(segment.region, num_keys)
    return _Tile(rows, keys, values, mask[rows, :num_keys][None, None])


def _mask(positions: torch.Tensor, window: int | None, dtype: torch.dtype) -> torch.Tensor:
    """[rows, keys of the longest]: 0 where a row's position attends, -inf where it does not."""
    num_keys = (int(positions.max()) // BLOCK + 1) * BLOCK
    keys = torch.arange(num_keys, device=positions.device)
    own = positions.unsqueeze(1)
    is_hidden = keys > own
    if window is not None:
        is_hidden |= keys <= own - window
    return torch.zeros_like(is_hidden, dtype=dtype).masked_fill_(is_hidden, -torch.inf)

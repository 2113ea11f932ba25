"""The KV cache: one pool of token rows per layer, in which every stream holds one contiguous region.

Reserving is exact: any set of regions fits whose lengths together are at most the capacity, because regions are moved
together when no hole is long enough. Memory is taken from the system only as it is written.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from goodspeed.errors import CapacityError
from goodspeed.models.config import ModelConfig

BLOCK = 64
"""Keys are read in whole blocks (attention.py)."""


@dataclass(slots=True, eq=False)
class Region:
    """Pool rows start .. start + length - 1; position p of the stream is row start + p. The pool may move it."""

    start: int
    length: int


class KvPool:
    """Keys and values of `capacity` tokens, all streams together, for every layer of a decoder."""

    def __init__(self, config: ModelConfig, capacity: int, dtype: torch.dtype, device: torch.device) -> None:
        self.capacity, self.dtype, self.device = capacity, dtype, device
        num_rows = capacity + BLOCK  # reading the last region's last block may go past it
        shape = (config.num_layers, num_rows, 2, config.num_kv_heads, config.head_dim)
        # Zeros, since rows that were never written are read too: masked, but a NaN would survive the mask.
        self._pool = torch.zeros(shape, dtype=dtype, device=device)
        by_head = self._pool.permute(2, 0, 3, 1, 4).unsqueeze(2)  # [2, layers, 1, kv_heads, rows, head_dim]
        self._keys, self._values = by_head[0], by_head[1]
        self._layers = self._pool.flatten(2).unbind(0)
        self._regions: list[Region] = []  # by start

    @property
    def num_reserved(self) -> int:
        """Tokens in regions."""
        return sum(region.length for region in self._regions)

    def reserve(self, length: int) -> Region:
        """A region of its own. Raises CapacityError if the free rows together are fewer."""
        free = self.capacity - self.num_reserved
        if length > free:
            raise CapacityError(f"{length} KV tokens wanted, {free} of {self.capacity} are free")
        region = Region(self._hole(length), length)
        self._regions.append(region)
        self._regions.sort(key=lambda one: one.start)
        return region

    def free(self, region: Region) -> None:
        """Give the region back; what it holds is lost."""
        self._regions.remove(region)

    def write(
        self,
        layer: int,
        slots: torch.Tensor,  # [tokens] int64: rows of the pool
        keys_values: torch.Tensor,  # [tokens, 2 * kv_heads * head_dim]: all keys, then all values
    ) -> None:
        """Store one layer's keys and values of new tokens."""
        self._layers[layer].index_copy_(0, slots, keys_values)

    def read(self, region: Region, num_keys: int) -> tuple[Sequence[torch.Tensor], Sequence[torch.Tensor]]:
        """Views of all layers' keys, and of all layers' values, each [1, kv_heads, num_keys, head_dim].

        They may go past the region by less than a BLOCK; what is there is finite and means nothing.
        """
        start, stop = region.start, region.start + num_keys
        return self._keys[..., start:stop, :].unbind(0), self._values[..., start:stop, :].unbind(0)

    def _hole(self, length: int) -> int:
        """Where the new region starts: the first hole that is long enough, made by moving regions if need be."""
        end = 0
        for region in self._regions:
            if region.start - end >= length:
                return end
            end = region.start + region.length
        return end if self.capacity - end >= length else self._compact()

    def _compact(self) -> int:
        """Move all regions to the front; returns where they end."""
        end = 0
        for region in self._regions:
            if region.start != end:
                rows = self._pool[:, region.start : region.start + region.length]
                self._pool[:, end : end + region.length] = rows.clone()  # they may overlap
                region.start = end
            end += region.length
        return end


def kv_bytes_per_token(config: ModelConfig, dtype: torch.dtype) -> int:
    """Keys and values of one token in all layers."""
    return 2 * config.num_layers * config.num_kv_heads * config.head_dim * dtype.itemsize

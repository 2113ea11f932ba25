"""A packed batch: the new tokens of several streams one after the other, without padding."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from goodspeed.engine.block_table import BlockTable
from goodspeed.engine.torch.kv import slots

MIN_ROWS = 2
"""oneDNN sums a product of a single row in another order, so a batch of one token is computed as two rows."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One stream's part of a batch: new tokens after those whose keys and values are in its blocks."""

    tokens: Sequence[int]
    table: BlockTable
    num_past: int
    num_logits: int
    """Number of last tokens that need logits."""

    @property
    def positions(self) -> range:
        """Absolute positions of the new tokens."""
        return range(self.num_past, self.num_past + len(self.tokens))


class PackedBatch:
    """The index tensors of one forward pass, all [tokens] int64; the last token is repeated up to MIN_ROWS."""

    def __init__(self, segments: Sequence[Segment], device: torch.device) -> None:
        self.num_tokens = sum(len(segment.tokens) for segment in segments)
        self._device = device
        self.tokens = self._tensor([token for segment in segments for token in segment.tokens])
        self.positions = self._tensor([p for segment in segments for p in segment.positions])
        rows = np.concatenate([slots(segment.table, segment.positions) for segment in segments])
        self.slots = self._tensor(rows.tolist())
        self._logit_rows = _logit_rows(segments)

    def logit_rows(self, x: torch.Tensor) -> torch.Tensor:
        """The rows of x [tokens, n] that need logits, in order: none, or at least MIN_ROWS."""
        rows = self._logit_rows
        return x if len(rows) == len(x) else x[self._tensor(rows)]

    @property
    def num_logits(self) -> int:
        """Number of rows that need logits, without repetition."""
        return len(self._logit_rows)

    def _tensor(self, values: list[int]) -> torch.Tensor:
        repeated = values[-1:] * (MIN_ROWS - len(values))
        return torch.tensor(values + repeated, dtype=torch.int64, device=self._device)


def _logit_rows(segments: Sequence[Segment]) -> list[int]:
    rows: list[int] = []
    end = 0
    for segment in segments:
        end += len(segment.tokens)
        rows.extend(range(end - segment.num_logits, end))
    return rows

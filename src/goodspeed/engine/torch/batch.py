"""A packed batch: the new tokens of several streams in one row of tensors, without padding between them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from goodspeed.engine.torch.kv import Region

MIN_ROWS = 2
"""oneDNN sums a product of a single row in another order. So a row is never alone: it is computed twice."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One stream's part of a batch: new tokens on top of those whose keys and values are in its region."""

    tokens: Sequence[int]
    region: Region
    num_past: int
    num_logits: int
    """How many of the last tokens need logits."""

    @property
    def positions(self) -> range:
        """Absolute positions of the new tokens."""
        return range(self.num_past, self.num_past + len(self.tokens))


class PackedBatch:
    """The index tensors of one forward pass, all [tokens] int64 (the last token repeated up to MIN_ROWS)."""

    def __init__(self, segments: Sequence[Segment], device: torch.device) -> None:
        self.num_tokens = sum(len(one.tokens) for one in segments)
        self._device = device
        self.tokens = self._tensor([token for one in segments for token in one.tokens])
        self.positions = self._tensor([p for one in segments for p in one.positions])
        self.slots = self._tensor([one.region.start + p for one in segments for p in one.positions])
        self._logit_rows = _logit_rows(segments)

    def logit_rows(self, x: torch.Tensor) -> torch.Tensor:
        """Of x [tokens, n] the rows whose logits are wanted, in order; none, or at least MIN_ROWS."""
        rows = self._logit_rows
        return x if len(rows) == len(x) else x[self._tensor(rows)]

    @property
    def num_logits(self) -> int:
        """Rows that are wanted, without repetition."""
        return len(self._logit_rows)

    def _tensor(self, values: list[int]) -> torch.Tensor:
        repeated = values[-1:] * (MIN_ROWS - len(values))
        return torch.tensor(values + repeated, dtype=torch.int64, device=self._device)


def _logit_rows(segments: Sequence[Segment]) -> list[int]:
    rows: list[int] = []
    end = 0
    for one in segments:
        end += len(one.tokens)
        rows.extend(range(end - one.num_logits, end))
    return rows

"""One forward pass over the new tokens of several sequences, in pieces that llama.cpp computes with the same bits.

Its products and its attention choose their kernels by the number of rows. On a CPU a single row differs from several
(F16 weights; attention over 512 cells and more), and so do 64 rows and more (attention). So a piece has 2 to
`max_rows` rows, and none or at least 2 of them have logits, since the last layers see only those
(docs/explain/llama_cpp.md).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from goodspeed.engine.llama_cpp.cells import FILLER, Cells

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Segment:
    """New tokens of one sequence, after the `num_past` that it has in the cache."""

    sequence: int
    num_past: int
    tokens: Sequence[int]
    num_logits: int
    """Number of last tokens that need logits."""


@dataclass(frozen=True, slots=True)
class Forward:
    """Runs segments through the model."""

    cells: Cells
    min_rows: int
    """Rows, and rows with logits, that a piece has at least: 1, or 2 for the same bits in every batch."""

    def run(self, segments: Sequence[Segment]) -> list[Rows]:
        """[num_logits, vocab] for each segment, valid until the next call. Raises CapacityError."""
        self.cells.make_room(sum(len(segment.tokens) for segment in segments) + self.min_rows)
        pieces = list(self._pieces(segments))
        logits = [self._decode(piece, is_copied=len(pieces) > 1) for piece in pieces]
        rows = logits[0] if len(logits) == 1 else np.concatenate(logits)
        return np.split(rows, np.cumsum([segment.num_logits for segment in segments])[:-1])

    def _pieces(self, segments: Sequence[Segment]) -> Iterator[list[Segment]]:
        """The segments, cut where a piece is full; the pieces are about equally large."""
        num_tokens = sum(len(segment.tokens) for segment in segments)
        num_pieces = -(-num_tokens // self.cells.context.size.max_rows)
        piece: list[Segment] = []
        num_before = 0  # tokens before the segment
        cuts = [num_tokens * i // num_pieces for i in range(1, num_pieces)]
        for segment in segments:
            start, end = 0, len(segment.tokens)
            for cut in cuts:
                if num_before + start < cut <= num_before + end:
                    piece.append(_part(segment, start, cut - num_before))
                    yield piece
                    piece, start = [], cut - num_before
            if start < end:
                piece.append(_part(segment, start, end))
            num_before += end
        yield piece

    def _decode(self, piece: Sequence[Segment], *, is_copied: bool) -> Rows:
        tokens = [token for segment in piece for token in segment.tokens]
        positions = [segment.num_past + i for segment in piece for i in range(len(segment.tokens))]
        sequences = [segment.sequence for segment in piece for _ in segment.tokens]
        wanted = [
            i >= len(segment.tokens) - segment.num_logits for segment in piece for i in range(len(segment.tokens))
        ]
        num_fillers = max(0, self.min_rows - len(tokens))
        outputs = [*wanted, *[any(wanted)] * num_fillers]
        if 0 < sum(outputs) < self.min_rows:
            outputs[outputs.index(False)] = True
        logits = self.cells.context.decode(
            [*tokens, *tokens[:1] * num_fillers],
            [*positions, *range(num_fillers)],
            [*sequences, *[FILLER] * num_fillers],
            outputs,
        )
        self._note(piece, num_fillers)
        if sum(outputs) > sum(wanted):
            return logits[[i for i, row in enumerate(_indices(outputs)) if row < len(wanted) and wanted[row]]]
        return logits.copy() if is_copied else logits

    def _note(self, piece: Sequence[Segment], num_fillers: int) -> None:
        for segment in piece:
            self.cells.append(segment.sequence, len(segment.tokens))
        if num_fillers:
            self.cells.append(FILLER, num_fillers)
            self.cells.drop_filler()


def _part(segment: Segment, start: int, end: int) -> Segment:
    """The tokens start .. end - 1 of a segment."""
    first_with_logits = len(segment.tokens) - segment.num_logits
    return Segment(
        segment.sequence,
        segment.num_past + start,
        segment.tokens[start:end],
        max(0, end - max(start, first_with_logits)),
    )


def _indices(flags: Sequence[bool]) -> list[int]:
    return [i for i, flag in enumerate(flags) if flag]

"""Examples packed into rows of one length: several documents a row, each of which sees only itself."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from goodspeed.tuning.data.example import Example

PADDING = -1
NUM_OPEN = 16


@dataclass(frozen=True, slots=True)
class Document:
    """One example, cut to fit: its tokens but the last, and what the student is told at its last places."""

    tokens: npt.NDArray[np.int32]  # [t]
    answer: npt.NDArray[np.int32]  # [n]: what the target said after tokens[-n:]
    top_places: npt.NDArray[np.int32]  # [n, k]: rows of the student's head; -1: it has none
    top_probs: npt.NDArray[np.float32]  # [n, k]: the target's
    weights: npt.NDArray[np.float32]  # [n]

    @property
    def num_losses(self) -> int:
        return len(self.answer)


@dataclass(frozen=True, slots=True)
class PackedRows:
    """A batch: [rows, length] tensors, and the teaching at `places` of the flattened rows."""

    tokens: torch.Tensor
    positions: torch.Tensor
    documents: torch.Tensor
    """Which document a token is of, PADDING for none."""
    places: torch.Tensor  # [n] int64
    answer_places: torch.Tensor  # [n] int64: the head's row of what the target said; -1: it has none
    top_places: torch.Tensor  # [n, k] int64
    top_probs: torch.Tensor  # [n, k] float32
    weights: torch.Tensor  # [n] float32

    def mask(self, dtype: torch.dtype) -> torch.Tensor:
        """[rows, 1, length, length]: 0 where a token sees another, of its own document and not later; else -inf."""
        length = self.tokens.shape[1]
        is_seen = self.documents.unsqueeze(2) == self.documents.unsqueeze(1)
        is_seen &= torch.ones(length, length, dtype=torch.bool, device=is_seen.device).tril()
        return torch.zeros(is_seen.shape, dtype=dtype, device=is_seen.device).masked_fill_(~is_seen, -torch.inf)[
            :, None
        ]

    def to(self, device: torch.device) -> "PackedRows":
        return PackedRows(*(getattr(self, name).to(device) for name in self.__slots__))


class Cutter:
    """Makes documents of examples: the end of a long prompt, the beginning of a long answer."""

    def __init__(self, length: int, max_prompt: int, vocab_size: int, kept: torch.Tensor | None) -> None:
        self._length, self._max_prompt = length, max_prompt
        self._place_of = np.arange(vocab_size, dtype=np.int32)
        if kept is not None:
            self._place_of = np.full(vocab_size, -1, dtype=np.int32)
            self._place_of[kept.numpy()] = np.arange(len(kept), dtype=np.int32)

    def document(
        self,
        example: Example,
        weights: npt.NDArray[np.float32] | None,  # [n] what its positions count; None: 1
        top_k: int,
        temperature: float,
    ) -> Document:
        """With the target's `top_k` likeliest tokens; temperature below 1 sharpens their distribution."""
        prompt = example.prompt[-self._max_prompt :]
        num = min(len(example.answer), self._length - len(prompt) + 1)
        return Document(
            np.concatenate((prompt, example.answer[: num - 1])),
            self._place_of[example.answer[:num]],
            self._place_of[example.top_tokens[:num, :top_k]],
            _probs(example.top_logprobs[:num].astype(np.float32), temperature)[:, :top_k],
            np.ones(num, np.float32) if weights is None else weights[:num],
        )


def _probs(logprobs: npt.NDArray[np.float32], temperature: float) -> npt.NDArray[np.float32]:
    """[n, k]: as they are, or at another temperature, the mass beyond the top k being none then."""
    if temperature == 1.0:
        probs: npt.NDArray[np.float32] = np.exp(logprobs)
        return probs
    probs = np.exp((logprobs - logprobs.max(1, keepdims=True)) / temperature)
    probs /= probs.sum(1, keepdims=True)
    return probs


def pack(documents: Iterable[Document], length: int) -> Iterator[list[Document]]:
    """Rows of at most `length` tokens: each document goes into the first open row with room, NUM_OPEN are open."""
    rows: list[list[Document]] = []
    rooms: list[int] = []
    for document in documents:
        size = len(document.tokens)
        fitting = next((i for i, room in enumerate(rooms) if room >= size), None)
        if fitting is None:
            if len(rows) == NUM_OPEN:
                yield rows.pop(0)
                rooms.pop(0)
            fitting = len(rows)
            rows.append([])
            rooms.append(length)
        rows[fitting].append(document)
        rooms[fitting] -= size
    yield from rows


def batch(packed: Sequence[Sequence[Document]], length: int) -> PackedRows:
    """The tensors of some rows, cut to the longest."""
    length = min(length, max(sum(len(one.tokens) for one in row) for row in packed))
    tokens, positions = (np.zeros((len(packed), length), dtype=np.int64) for _ in range(2))
    owners = np.full((len(packed), length), PADDING, dtype=np.int64)
    places = []
    for i, row in enumerate(packed):
        end = 0
        for number, one in enumerate(row):
            span = slice(end, end + len(one.tokens))
            tokens[i, span], positions[i, span], owners[i, span] = one.tokens, np.arange(len(one.tokens)), number
            end = span.stop
            places.append(i * length + np.arange(end - one.num_losses, end))
    flat = [one for row in packed for one in row]
    arrays = (tokens, positions, owners, np.concatenate(places), *_told(flat))
    return PackedRows(*map(torch.from_numpy, arrays))


def _told(flat: Sequence[Document]) -> tuple[npt.NDArray[np.generic], ...]:
    """The teaching of all documents' answers, one after the other."""
    return (
        np.concatenate([one.answer for one in flat]).astype(np.int64),
        np.concatenate([one.top_places for one in flat]).astype(np.int64),
        np.concatenate([one.top_probs for one in flat]),
        np.concatenate([one.weights for one in flat]),
    )

"""Examples packed into rows of one length. A row has several documents, and attention does not cross them."""

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
    """One example, cut to fit: its tokens but the last, and the targets of the loss at its last positions."""

    tokens: npt.NDArray[np.int32]  # [t]
    answer_rows: npt.NDArray[np.int32]  # [n]: the head's rows of the answer tokens after tokens[-n:]; -1: none
    top_rows: npt.NDArray[np.int32]  # [n, k]: the head's rows of the target's top k; -1: none
    top_probs: npt.NDArray[np.float32]  # [n, k]: the target's probabilities
    weights: npt.NDArray[np.float32]  # [n]

    @property
    def num_losses(self) -> int:
        return len(self.answer_rows)


@dataclass(frozen=True, slots=True)
class PackedRows:
    """A batch: [rows, length] tensors, and the targets of the loss at `loss_positions` of the flattened rows."""

    tokens: torch.Tensor
    positions: torch.Tensor
    documents: torch.Tensor
    """The number of the token's document in its row; PADDING for none."""
    loss_positions: torch.Tensor  # [n] int64
    answer_rows: torch.Tensor  # [n] int64: the head's row of the answer token; -1: none
    top_rows: torch.Tensor  # [n, k] int64
    top_probs: torch.Tensor  # [n, k] float32
    weights: torch.Tensor  # [n] float32

    def mask(self, dtype: torch.dtype) -> torch.Tensor:
        """[rows, 1, length, length], additive: 0 for tokens of the same document that are not later; else -inf."""
        length = self.tokens.shape[1]
        is_visible = self.documents.unsqueeze(2) == self.documents.unsqueeze(1)
        is_visible &= torch.ones(length, length, dtype=torch.bool, device=is_visible.device).tril()
        return torch.zeros(is_visible.shape, dtype=dtype, device=is_visible.device).masked_fill_(
            ~is_visible, -torch.inf
        )[:, None]

    def to(self, device: torch.device) -> "PackedRows":
        return PackedRows(*(getattr(self, name).to(device) for name in self.__slots__))


class Cutter:
    """Makes documents of examples. It keeps the end of a long prompt and the start of a long answer."""

    def __init__(self, length: int, max_prompt: int, vocab_size: int, draft_vocab: torch.Tensor | None) -> None:
        """`draft_vocab`: [n] int64, the token ids that the student's head has rows for; None: all."""
        self._length, self._max_prompt = length, max_prompt
        self._row_of = np.arange(vocab_size, dtype=np.int32)
        if draft_vocab is not None:
            self._row_of = np.full(vocab_size, -1, dtype=np.int32)
            self._row_of[draft_vocab.numpy()] = np.arange(len(draft_vocab), dtype=np.int32)

    def document(
        self,
        example: Example,
        weights: npt.NDArray[np.float32] | None,  # [n] weights in the loss; None: 1
        top_k: int,
        temperature: float,
    ) -> Document:
        """The example with the target's `top_k` likeliest tokens, their distribution at `temperature`."""
        prompt = example.prompt[-self._max_prompt :]
        num = min(len(example.answer), self._length - len(prompt) + 1)
        return Document(
            self._inputs(np.concatenate((prompt, example.answer[: num - 1]))),
            self._rows(example.answer[:num]),
            self._rows(example.top_tokens[:num, :top_k]),
            _probs(example.top_logprobs[:num].astype(np.float32), temperature)[:, :top_k],
            np.ones(num, np.float32) if weights is None else weights[:num],
        )

    def _inputs(self, tokens: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """As a draft model reads them: ids of the target's padding that the student does not have become token 0."""
        return np.where(tokens < len(self._row_of), tokens, 0).astype(tokens.dtype)

    def _rows(self, tokens: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """The rows of the student's head, -1 for tokens without one."""
        return np.where(tokens < len(self._row_of), self._row_of[self._inputs(tokens)], -1).astype(np.int32)


def _probs(logprobs: npt.NDArray[np.float32], temperature: float) -> npt.NDArray[np.float32]:
    """[n, k] probabilities. At other temperatures than 1 the top k is normalised by itself."""
    if temperature == 1.0:
        probs: npt.NDArray[np.float32] = np.exp(logprobs)
        return probs
    probs = np.exp((logprobs - logprobs.max(1, keepdims=True)) / temperature)
    probs /= probs.sum(1, keepdims=True)
    return probs


def pack(documents: Iterable[Document], length: int) -> Iterator[list[Document]]:
    """Rows of at most `length` tokens, by first fit into NUM_OPEN open rows."""
    rows: list[list[Document]] = []
    free: list[int] = []  # tokens, by row
    for document in documents:
        size = len(document.tokens)
        fitting = next((i for i, num_free in enumerate(free) if num_free >= size), None)
        if fitting is None:
            if len(rows) == NUM_OPEN:
                yield rows.pop(0)
                free.pop(0)
            fitting = len(rows)
            rows.append([])
            free.append(length)
        rows[fitting].append(document)
        free[fitting] -= size
    yield from rows


def batch(packed: Sequence[Sequence[Document]], length: int) -> PackedRows:
    """The tensors of some rows, cut to the longest row."""
    length = min(length, max(sum(len(document.tokens) for document in row) for row in packed))
    tokens, positions = (np.zeros((len(packed), length), dtype=np.int64) for _ in range(2))
    document_numbers = np.full((len(packed), length), PADDING, dtype=np.int64)
    loss_positions = []
    for i, row in enumerate(packed):
        end = 0
        for number, document in enumerate(row):
            span = slice(end, end + len(document.tokens))
            tokens[i, span], positions[i, span], document_numbers[i, span] = (
                document.tokens,
                np.arange(len(document.tokens)),
                number,
            )
            end = span.stop
            loss_positions.append(i * length + np.arange(end - document.num_losses, end))
    documents = [document for row in packed for document in row]
    arrays = (tokens, positions, document_numbers, np.concatenate(loss_positions), *_loss_targets(documents))
    return PackedRows(*map(torch.from_numpy, arrays))


def _loss_targets(documents: Sequence[Document]) -> tuple[npt.NDArray[np.generic], ...]:
    """Answer rows, top rows, top probabilities and weights of all documents, concatenated."""
    return (
        np.concatenate([document.answer_rows for document in documents]).astype(np.int64),
        np.concatenate([document.top_rows for document in documents]).astype(np.int64),
        np.concatenate([document.top_probs for document in documents]),
        np.concatenate([document.weights for document in documents]),
    )

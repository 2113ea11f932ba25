"""The logits processor of a request's LogitChanges.

The order is vLLM's: exclusions, biases, repetition penalty, then frequency and presence penalties.
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from goodspeed.decoding.logit_changes import LogitChanges
from goodspeed.decoding.logits_processor import exclude


class LogitChanger:
    """Applies LogitChanges to the logits of one stream; one is made for each stream."""

    def __init__(
        self, changes: LogitChanges, prompt: Sequence[int], answer: Sequence[int], end_tokens: Sequence[int]
    ) -> None:
        """`answer`: its committed part, if the stream is resumed."""
        self._changes = changes
        self._penalties = Penalties(changes, prompt, answer) if changes.has_penalty else None
        self._answer = list(answer)
        self._end_tokens = np.array(end_tokens, dtype=np.int64)
        self._biased = np.array([bias.token for bias in changes.logit_bias], dtype=np.int64)
        self._biases = np.array([bias.bias for bias in changes.logit_bias], dtype=np.float32)

    @property
    def failure(self) -> str:
        return ""

    def apply(self, logits: npt.NDArray[np.float32], draft_tokens: Sequence[int]) -> None:
        num_answer = len(self._answer)
        self._answer.extend(draft_tokens)
        for i, row in enumerate(logits):
            self._exclude(row, num_answer + i)
            np.add.at(row, self._biased, self._biases)
        del self._answer[num_answer:]
        if self._penalties:
            self._penalties.apply(logits, draft_tokens)

    def commit(self, tokens: Sequence[int]) -> None:
        self._answer.extend(tokens)
        if self._penalties:
            self._penalties.commit(tokens)

    def _exclude(self, row: npt.NDArray[np.float32], num_answer: int) -> None:
        """Exclude tokens after the first `num_answer` tokens of the answer."""
        changes = self._changes
        if changes.allowed_tokens:
            exclude(row, _others(changes.allowed_tokens, len(row)))
        bad = [word.tokens[-1] for word in changes.bad_words if self._ends_with(word.tokens[:-1], num_answer)]
        if bad:
            exclude(row, np.array(bad))
        if num_answer < changes.min_tokens:
            exclude(row, self._end_tokens)

    def _ends_with(self, tokens: tuple[int, ...], num_answer: int) -> bool:
        start = num_answer - len(tokens)
        return start >= 0 and tuple(self._answer[start:num_answer]) == tokens


class Penalties:
    """The penalties of LogitChanges, which depend on how often each token has occurred."""

    def __init__(self, changes: LogitChanges, prompt: Sequence[int], answer: Sequence[int]) -> None:
        self._repetition = np.float32(changes.repetition_penalty)
        self._frequency = np.float32(changes.frequency_penalty)
        self._presence = np.float32(changes.presence_penalty)
        self._prompt = frozenset(prompt) if changes.repetition_penalty != 1.0 else frozenset()
        self._counts = Counter(answer)

    def apply(
        self,
        logits: npt.NDArray[np.float32],  # [k + 1, vocab]
        draft_tokens: Sequence[int],  # k
    ) -> None:
        """Change `logits` in place."""
        indices = {token: i for i, token in enumerate({*self._prompt, *self._counts, *draft_tokens})}
        tokens = np.fromiter(indices, dtype=np.int64, count=len(indices))
        is_in_prompt = np.fromiter((token in self._prompt for token in indices), dtype=np.bool_, count=len(indices))
        counts = np.fromiter((self._counts[token] for token in indices), dtype=np.float32, count=len(indices))
        for i, row in enumerate(logits):
            if i:
                counts[indices[draft_tokens[i - 1]]] += 1.0
            row[tokens] = self._penalised(row[tokens], counts, is_in_prompt)

    def commit(self, tokens: Sequence[int]) -> None:
        """Extend the answer."""
        self._counts.update(tokens)

    def _penalised(
        self,
        logits: npt.NDArray[np.float32],  # [n]
        counts: npt.NDArray[np.float32],  # [n], in the answer
        is_in_prompt: npt.NDArray[np.bool_],  # [n]
    ) -> npt.NDArray[np.float32]:
        is_in_answer = counts > 0.0
        if self._repetition != 1.0:
            repeated = np.where(logits > 0.0, logits / self._repetition, logits * self._repetition)
            logits = np.where(is_in_answer | is_in_prompt, repeated, logits)
        return logits - self._frequency * counts - self._presence * is_in_answer


@lru_cache(maxsize=16)
def _others(allowed: tuple[int, ...], vocab_size: int) -> npt.NDArray[np.bool_]:
    """[vocab_size]: whether each token is outside `allowed`."""
    is_other = np.ones(vocab_size, dtype=np.bool_)
    is_other[list(allowed)] = False
    is_other.setflags(write=False)
    return is_other

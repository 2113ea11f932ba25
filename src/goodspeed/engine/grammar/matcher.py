"""A stream's position in its grammar: which tokens may follow, and which must."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from llguidance import LLMatcher

MASK_BITS = 32
NO_CONTINUATION = "no answer satisfies the constraint"


class Matcher:
    """The grammar's part of one stream, after its committed answer.

    As a LogitsProcessor it excludes what the grammar does not allow. End tokens are allowed exactly where the grammar
    may end. Where the grammar forces the next bytes, the only allowed token is that of their usual tokenisation, so
    `forced` tokens are accepted for certain. What is allowed depends on the committed answer only, not on the steps
    in which it was read.
    """

    def __init__(
        self,
        matcher: "LLMatcher",  # at the start of the answer
        vocab_size: int,
        end_tokens: Sequence[int],
        other_end_tokens: Sequence[int] = (),
    ) -> None:
        """`other_end_tokens`: those that end other answers of the model, and are never allowed in this one."""
        self.end_tokens = tuple(end_tokens)
        self._other_end_tokens = list(other_end_tokens)
        self._matcher = matcher
        self._vocab_size = vocab_size
        self._mask = np.zeros(-(-vocab_size // MASK_BITS), dtype=np.int32)
        self._has_ended = False
        self._failure = _plain(matcher.get_error())

    @property
    def failure(self) -> str:
        """Why the answer cannot be continued: the grammar is too complex, or it was violated. Empty: it can."""
        return self._failure

    def apply(
        self,
        logits: npt.NDArray[np.float32],  # [k + 1, vocab]
        draft_tokens: Sequence[int],  # k
    ) -> None:
        """As LogitsProcessor.apply. Rows after a draft token that is not allowed, or ends the answer, stay as they are.

        They are never used: such a token is rejected, or is the last one.
        """
        num_read = 0
        for i, row in enumerate(logits):
            if self._has_ended or self._failure:
                break
            np.putmask(row, ~self.allowed(), -np.inf)
            if i == len(draft_tokens) or not self.advance(draft_tokens[i]):
                break
            num_read += 1
        self.rewind(num_read)

    def commit(self, tokens: Sequence[int]) -> None:
        """As LogitsProcessor.commit."""
        for token in tokens:
            if self._has_ended or self._failure:
                return
            if self.is_end(token):
                self._has_ended = True
            elif not self.advance(token):
                self._failure = _plain(self._matcher.get_error()) or f"token {token} is not in the grammar"

    def allowed(self) -> npt.NDArray[np.bool_]:
        """[vocab]: the tokens that may follow. All, if the matcher has failed."""
        self._matcher.unsafe_compute_mask_ptr(self._mask.ctypes.data, self._mask.nbytes)
        bits = np.unpackbits(self._mask.view(np.uint8), bitorder="little")[: self._vocab_size]
        allowed = bits.view(np.bool_)
        is_accepting = self._matcher.is_accepting()
        if is_accepting:
            allowed[self._other_end_tokens] = False
            allowed[list(self.end_tokens)] = True
        if not allowed.any() or (self._matcher.is_stopped() and not is_accepting):
            self._failure = _plain(self._matcher.get_error()) or NO_CONTINUATION
            allowed[:] = True
        return allowed

    def forced(self) -> list[int]:
        """The next tokens, as far as the grammar leaves no choice."""
        if self._has_ended:
            return []
        tokens: list[int] = self._matcher.compute_ff_tokens()
        if not tokens and len(self.end_tokens) == 1 and self._matcher.is_stopped() and self._matcher.is_accepting():
            return list(self.end_tokens)
        return tokens

    def is_end(self, token: int) -> bool:
        """Whether the token ends the answer here."""
        return token in self.end_tokens and self._matcher.is_accepting()

    def advance(self, token: int) -> bool:
        """Go on past the token. False, without a change, if it ends the answer or the grammar does not allow it."""
        return not self.is_end(token) and self._matcher.try_consume_tokens([token]) == 1

    def rewind(self, num_tokens: int) -> None:
        """Take back the last tokens of `advance`."""
        if num_tokens:
            self._matcher.rollback(num_tokens)


def _plain(error: str) -> str:
    """One line, without the state of the parser, which llguidance appends."""
    text = " ".join(error.partition("<state>")[0].replace("<non-verbose/>", "").split())
    return NO_CONTINUATION if text.startswith("NoExtension") else text

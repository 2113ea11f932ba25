"""The cells of the KV cache, kept so that the cells of a sequence are always in the order of its positions.

llama.cpp's attention sums over cells in the order of their index, and it puts a new token into the first free cell. If
cells in the middle became free, later tokens of a stream would lie before its earlier ones, and the sums would round
otherwise than for a stream alone. So all free cells are at the end: a cell in the middle that its sequence no longer
needs is given to a garbage sequence. When no free cell is left, all sequences are saved, cleared and written again.
"""

from dataclasses import dataclass, field

from goodspeed.engine.llama_cpp.context import MAX_SEQUENCES, LlamaContext
from goodspeed.errors import CapacityError

GARBAGE = MAX_SEQUENCES - 1
"""The sequence that owns cells that are no longer needed."""
FILLER = MAX_SEQUENCES - 2
"""The sequence of tokens that only make a batch larger."""
MAX_STREAMS = MAX_SEQUENCES - 2


@dataclass(slots=True)
class _Run:
    """Neighbouring cells that were written for one sequence."""

    sequence: int
    num_cells: int


@dataclass(slots=True)
class _Sequence:
    num_tokens: int = 0
    num_shared: int = 0
    """Leading tokens whose cells another sequence has as well, or had."""


@dataclass(slots=True)
class Cells:
    """Sequences of tokens in the cells of a context."""

    context: LlamaContext
    num_used: int = 0
    """Cells before the first free one, with garbage."""
    num_compactions: int = 0
    _runs: list[_Run] = field(default_factory=list)
    """All used cells in order. Cells of a run whose sequence has lost them are garbage."""
    _sequences: dict[int, _Sequence] = field(default_factory=dict)

    @property
    def num_tokens(self) -> int:
        """Tokens of all sequences; shared ones are counted for each."""
        return sum(sequence.num_tokens for sequence in self._sequences.values())

    @property
    def num_free_sequences(self) -> int:
        """How many more sequences can be opened."""
        return MAX_STREAMS - len(self._sequences)

    def open(self) -> int:
        """The number of a new, empty sequence. Raises CapacityError if there are too many."""
        free = next((number for number in range(MAX_STREAMS) if number not in self._sequences), None)
        if free is None:
            raise CapacityError(f"{MAX_STREAMS} sequences are in use, llama.cpp has no more")
        self._sequences[free] = _Sequence()
        return free

    def make_room(self, num_tokens: int) -> None:
        """Make sure that this many cells are free at the end. Raises CapacityError."""
        num_cells = self.context.size.num_cells
        if self.num_used + num_tokens <= num_cells:
            return
        if self.num_tokens + num_tokens > num_cells:
            raise CapacityError(f"{num_tokens} KV tokens requested, {num_cells - self.num_tokens} are free")
        self._compact()

    def append(self, sequence: int, num_tokens: int) -> None:
        """Note tokens that a forward pass has written at the end of the sequence."""
        if sequence != FILLER:
            self._sequences[sequence].num_tokens += num_tokens
        if self._runs and self._runs[-1].sequence == sequence:
            self._runs[-1].num_cells += num_tokens
        else:
            self._runs.append(_Run(sequence, num_tokens))
        self.num_used += num_tokens

    def drop_filler(self) -> None:
        """Free the cells of filler tokens, which are the last ones."""
        assert self._runs[-1].sequence == FILLER
        self.context.remove(FILLER, 0)
        self.num_used -= self._runs.pop().num_cells

    def truncate(self, sequence: int, num_tokens: int) -> None:
        """Keep the sequence's first `num_tokens` tokens. Cells at the end become free, others garbage."""
        state = self._sequences[sequence]
        assert 0 <= num_tokens <= state.num_tokens, f"{num_tokens} of {state.num_tokens} tokens are to be kept"
        if num_tokens == state.num_tokens:
            return
        own_start = max(num_tokens, state.num_shared)
        num_free = self._pop(sequence, state.num_tokens - own_start)
        garbage_end = state.num_tokens - num_free
        if garbage_end > num_tokens:
            self.context.share(sequence, GARBAGE, num_tokens, garbage_end)
        self.context.remove(sequence, num_tokens)
        state.num_tokens, state.num_shared = num_tokens, min(num_tokens, state.num_shared)

    def share(self, source: int, target: int, num_tokens: int) -> None:
        """Let an empty sequence begin with the first tokens of another."""
        assert self._sequences[target].num_tokens == 0
        self.context.share(source, target, 0, num_tokens)
        self._sequences[target] = _Sequence(num_tokens, num_tokens)
        shared = self._sequences[source]
        shared.num_shared = max(shared.num_shared, num_tokens)

    def close(self, sequence: int) -> None:
        """End the sequence."""
        self.truncate(sequence, 0)
        del self._sequences[sequence]
        if not self._sequences:
            self.context.clear()
            self._runs.clear()
            self.num_used = 0

    def _pop(self, sequence: int, num_tokens: int) -> int:
        """Take up to `num_tokens` cells of the sequence off the end of the used ones; returns how many."""
        if not self._runs or self._runs[-1].sequence != sequence:
            return 0
        last = self._runs[-1]
        num_popped = min(num_tokens, last.num_cells)
        last.num_cells -= num_popped
        self.num_used -= num_popped
        if last.num_cells == 0:
            self._runs.pop()
        return num_popped

    def _compact(self) -> None:
        """Write all sequences again, one after the other, without garbage. A shared prefix is written for each."""
        kept = {number: state.num_tokens for number, state in self._sequences.items() if state.num_tokens}
        saved = {number: self.context.save(number) for number in kept}
        self.context.clear()
        for number, state in saved.items():
            self.context.restore(number, state)
        self._sequences = {number: _Sequence(kept.get(number, 0)) for number in self._sequences}
        self._runs = [_Run(number, num_tokens) for number, num_tokens in kept.items()]
        self.num_used = sum(kept.values())
        self.num_compactions += 1

"""The cells of the KV cache, kept so that the cells of a sequence are always in the order of its positions.

llama.cpp's attention sums over cells in the order of their index, and it puts a new token into the first free cell. If
cells in the middle became free, later tokens of a stream would lie before its earlier ones, and the sums would round
otherwise than for a stream alone. So all free cells are at the end: a cell in the middle that its sequence no longer
needs is given to a garbage sequence. When no free cell is left, all sequences are saved, cleared and written again.

Sequences share the cells of a common prefix. One of them owns these cells, the others borrow them.
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
    num_pinned: int = 0
    """Leading tokens whose cells another sequence has as well, or had."""
    owner: int | None = None
    """The sequence that owns the borrowed cells. It was opened before or borrows nothing of this one."""
    num_borrowed: int = 0
    """Leading tokens whose cells are the owner's."""


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
        """Tokens of all sequences; shared ones count once."""
        return sum(sequence.num_tokens - sequence.num_borrowed for sequence in self._sequences.values())

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
        self._note_run(sequence, num_tokens)

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
        self._bequeath(sequence, num_tokens)
        own_start = max(num_tokens, state.num_pinned)
        num_free = self._pop(sequence, state.num_tokens - own_start)
        garbage_end = state.num_tokens - num_free
        if garbage_end > num_tokens:
            self.context.share(sequence, GARBAGE, num_tokens, garbage_end)
        self.context.remove(sequence, num_tokens)
        state.num_tokens = num_tokens
        state.num_pinned, state.num_borrowed = min(num_tokens, state.num_pinned), min(num_tokens, state.num_borrowed)

    def share(self, source: int, target: int, num_tokens: int) -> None:
        """Let an empty sequence begin with the first tokens of another."""
        assert self._sequences[target].num_tokens == 0
        self.context.share(source, target, 0, num_tokens)
        self._sequences[target] = _Sequence(num_tokens, num_tokens, source, num_tokens)
        shared = self._sequences[source]
        shared.num_pinned = max(shared.num_pinned, num_tokens)

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

    def _bequeath(self, sequence: int, num_tokens: int) -> None:
        """The borrower of the most tokens after the first `num_tokens` becomes the owner of what it borrows."""
        borrowers = [
            number
            for number, state in self._sequences.items()
            if state.owner == sequence and state.num_borrowed > num_tokens
        ]
        if not borrowers:
            return
        heir = max(borrowers, key=lambda number: self._sequences[number].num_borrowed)
        state, inherited = self._sequences[sequence], self._sequences[heir]
        inherited.owner, inherited.num_borrowed = state.owner, state.num_borrowed
        for number in borrowers:
            if number != heir:
                self._sequences[number].owner = heir
        state.owner, state.num_borrowed = heir, num_tokens

    def _compact(self) -> None:
        """Write all sequences again without garbage: those first whose cells others borrow."""
        order = sorted(self._sequences, key=self._depth)
        saved = {}
        for number in reversed(order):
            state = self._sequences[number]
            if state.num_borrowed:
                self.context.remove(number, 0, state.num_borrowed)
            saved[number] = self.context.save(number)
        self.context.clear()
        self._runs, self.num_used = [], 0
        for number in order:
            state = self._sequences[number]
            if num_own := state.num_tokens - state.num_borrowed:
                self.context.restore(number, saved.pop(number))
                self._note_run(number, num_own)
            if state.owner is not None and state.num_borrowed:
                self.context.share(state.owner, number, 0, state.num_borrowed)
        self.num_compactions += 1

    def _depth(self, sequence: int) -> int:
        """How many owners stand before the sequence: its own, the owner of that one, and so on."""
        owner = self._sequences[sequence].owner
        return 0 if owner is None or not self._sequences[sequence].num_borrowed else 1 + self._depth(owner)

    def _note_run(self, sequence: int, num_cells: int) -> None:
        if self._runs and self._runs[-1].sequence == sequence:
            self._runs[-1].num_cells += num_cells
        else:
            self._runs.append(_Run(sequence, num_cells))
        self.num_used += num_cells

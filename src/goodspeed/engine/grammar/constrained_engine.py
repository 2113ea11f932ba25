"""A draft engine, and drafts of a verifier, with the grammars of constrained streams."""

from collections.abc import Sequence

from goodspeed.decoding.draft import Draft, DraftRequest, StreamKey
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.grammar.constrained_drafts import ConstrainedDrafts
from goodspeed.engine.grammar.grammars import Grammars
from goodspeed.engine.interface import CoLocatedDrafts, DraftEngine, ReadsLater, StreamSpec


class ConstrainedDraftEngine:
    """A DraftEngine that makes the drafts of another one fit the constraints of their streams.

    A constrained stream is opened with its prompt; what is committed of its answer follows by `commit`.
    """

    def __init__(self, engine: DraftEngine, grammars: Grammars) -> None:
        self._engine = engine
        self._constrained = ConstrainedDrafts(grammars)

    def open(self, stream: StreamKey, tokens: Sequence[int], sampling: Sampling) -> None:
        self._constrained.open(stream, sampling, len(tokens))
        self._engine.open(stream, tokens, sampling)

    def draft(self, requests: Sequence[DraftRequest]) -> list[Draft]:
        return self._constrained.draft(requests, self._engine.draft)

    def read_later(self) -> None:
        if isinstance(self._engine, ReadsLater):
            self._engine.read_later()

    def catch_up(self) -> bool:
        return isinstance(self._engine, ReadsLater) and self._engine.catch_up()

    def commit(self, stream: StreamKey, tokens: Sequence[int]) -> None:
        self._constrained.commit(stream, tokens)
        self._engine.commit(stream, tokens)

    def close(self, stream: StreamKey) -> None:
        self._constrained.close(stream)
        self._engine.close(stream)


class ConstrainedCoLocatedDrafts:
    """CoLocatedDrafts that make the drafts of others fit the constraints of their streams."""

    def __init__(self, drafts: CoLocatedDrafts, grammars: Grammars) -> None:
        self._drafts = drafts
        self._constrained = ConstrainedDrafts(grammars)

    def open(self, stream: StreamKey, spec: StreamSpec) -> None:
        self._constrained.open(stream, spec.sampling, len(spec.tokens), spec.tokens[spec.num_prompt :])
        self._drafts.open(stream, spec)

    def draft(self, requests: Sequence[DraftRequest]) -> list[Draft]:
        return self._constrained.draft(requests, self._drafts.draft)

    def commit(self, stream: StreamKey, tokens: Sequence[int]) -> None:
        self._constrained.commit(stream, tokens)
        self._drafts.commit(stream, tokens)

    def close(self, stream: StreamKey) -> None:
        self._constrained.close(stream)
        self._drafts.close(stream)

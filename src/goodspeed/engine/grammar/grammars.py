"""The interface of what compiles constraints, for engines and servers."""

from collections.abc import Sequence
from typing import Protocol

from goodspeed.decoding.constraint import Constraint
from goodspeed.engine.grammar.matcher import Matcher
from goodspeed.errors import RequestError


class Grammars(Protocol):
    """The grammars of one vocabulary. Threads may share it."""

    @property
    def end_tokens(self) -> tuple[int, ...]:
        """Those that normally end an answer of the model."""

    @property
    def version(self) -> str:
        """What decides which tokens are allowed; empty: it can compile nothing."""

    def prepare(self) -> None:
        """Read the vocabulary, if there are grammars: it takes a second, in which no other thread runs.

        Otherwise the first constraint has it read.
        """

    def check(self, constraint: Constraint) -> None:
        """Compile it, which may take a second.

        Raises RequestError, whose `field` is the path of what is wrong in a JSON schema.
        """

    def matcher(self, constraint: Constraint, end_tokens: Sequence[int], answer: Sequence[int] = ()) -> Matcher:
        """A matcher for a stream that ends with one of `end_tokens`, after the committed part of its answer.

        It has failed if that is not the start of an answer.
        Raises RequestError for what is wrong in the constraint, as `check`.
        """


def check_constraint(grammars: Grammars | None, constraint: Constraint) -> None:
    """As Grammars.check. Raises RequestError without grammars, too."""
    if grammars is None:
        raise RequestError("constrained output is not supported by this engine")
    grammars.check(constraint)

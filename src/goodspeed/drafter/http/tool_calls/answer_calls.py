"""What the tools of a request mean for its answers: the parser of calls, and the constraint."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from goodspeed.decoding.constraint import Constraint, ConstraintKind
from goodspeed.drafter.http.constraint_fields import FieldConstraint
from goodspeed.drafter.http.errors import ApiError
from goodspeed.drafter.http.tool_calls.call_grammar import arguments_schema, call_grammar
from goodspeed.drafter.http.tool_calls.formats import ToolFormat
from goodspeed.drafter.http.tool_calls.tool_parser import ToolParser
from goodspeed.drafter.http.tool_calls.tool_request import ToolRequest
from goodspeed.engine.grammar.grammars import Grammars


@dataclass(frozen=True, slots=True)
class AnswerCalls:
    """The calls that may be in an answer."""

    tools: ToolRequest
    format: ToolFormat

    def parser(self) -> ToolParser:
        """For one answer."""
        return self.format.make(self.tools.names, self.tools.max_calls)

    @property
    def last_call(self) -> ToolParser | None:
        """A parser that finds the last call that an answer may have; None: there may be any number."""
        return self.parser() if self.tools.max_calls else None

    def constraint(
        self, answer: FieldConstraint | None, special: Mapping[str, int], grammars: Grammars | None
    ) -> FieldConstraint | None:
        """The constraint of the whole text, which is compiled: its own or that of `answer`, which holds without a call.

        `special`: special tokens by name. Raises ApiError or RequestError.
        """
        if not self.tools.required and answer is None:
            return None
        free = None if self.tools.required or answer is None else answer.constraint
        constraint = FieldConstraint("tools", call_grammar(self.tools, self.format.written, special, free))
        try:
            constraint.check(grammars)
        except ApiError:
            self._check_parameters(grammars)  # it says which function is wrong, and where
            raise
        return constraint

    def _check_parameters(self, grammars: Grammars | None) -> None:
        for i, function in enumerate(self.tools.functions):
            schema = Constraint(ConstraintKind.JSON_SCHEMA, json.dumps(arguments_schema(function)))
            FieldConstraint(f"tools[{i}].function.parameters", schema).check(grammars)

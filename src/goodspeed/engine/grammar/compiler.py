"""Compiles constraints with llguidance, within limits: a request must not stop a server or fill its memory."""

import importlib
import importlib.metadata
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from goodspeed.decoding.constraint import Constraint, ConstraintKind
from goodspeed.engine.grammar.matcher import Matcher
from goodspeed.engine.grammar.number_bounds import with_inclusive_bounds
from goodspeed.engine.grammar.schema_errors import locate
from goodspeed.errors import RequestError
from goodspeed.extras import missing_extra

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLParserLimits, LLTokenizer

MAX_CACHED = 64
"""Compiled grammars that are kept, the latest used."""
MAX_REFERENCES = 1000
"""A chain of references recurses in the compiler, as that of a grammar's rules."""
STACK_BYTES = 2**26
"""Of the compiling thread: 10,000 nested references take less; the memory is used only when needed."""
NUM_PROBED = 8
"""Tokens of an answer that are tried out, to find a grammar that is too complex before it is used."""
WHITESPACE = r" |\n[ \t]{0,32}"
"""Between the tokens of JSON: a space, or a new line with its indent. Without a limit models write it for ever."""
JSON_STYLE = {"whitespace_pattern": WHITESPACE}
JSON_STYLE_BEFORE_1_8 = {
    "whitespace_flexible": False,  # its pattern would be repeated
    "item_separator": f",({WHITESPACE})?",
    "key_separator": f":({WHITESPACE})?",
}

LIMITS = {
    "initial_lexer_fuel": 100_000,  # (a{300}){300} would take 0.1 s for each mask
    "max_lexer_states": 50_000,  # 1 to 2 kB each
    "max_items_in_row": 10_000,  # an object with 2,000 optional properties has 8,007
    "verbose_errors": False,  # they hold the grammar
}


class GrammarCompiler:
    """Grammars by llguidance, which is imported when the first constraint is compiled."""

    def __init__(self, tokenizer: str, vocab_size: int, end_tokens: Sequence[int]) -> None:
        """`tokenizer`: the text of tokenizer.json; `vocab_size`: columns of the logits, with padding."""
        self._tokenizer_json = tokenizer
        self._vocab_size = vocab_size
        self.end_tokens = tuple(end_tokens)
        """Those that normally end an answer of the model."""
        self._compiled: dict[Constraint, LLMatcher | RequestError] = {}  # the latest used last
        self._lock = threading.Lock()

    @property
    def num_cached(self) -> int:
        """Grammars that are kept, with those that were refused."""
        return len(self._compiled)

    @cached_property
    def version(self) -> str:
        try:
            return f"llguidance {importlib.metadata.version('llguidance')}"
        except importlib.metadata.PackageNotFoundError:
            return ""

    def prepare(self) -> None:
        if self.version:
            self._thread.submit(lambda: self._tokenizer).result()

    def check(self, constraint: Constraint) -> None:
        self._prototype(constraint)

    def matcher(self, constraint: Constraint, end_tokens: Sequence[int], answer: Sequence[int] = ()) -> Matcher:
        matcher = self._started(self._prototype(constraint), end_tokens)
        matcher.commit(answer)
        return matcher

    def _started(self, prototype: "LLMatcher", end_tokens: Sequence[int]) -> Matcher:
        others = [token for token in self.end_tokens if token not in end_tokens]
        return Matcher(prototype.deep_copy(), self._vocab_size, end_tokens, others)

    def _prototype(self, constraint: Constraint) -> "LLMatcher":
        """A matcher at the start of the answer, not to be changed. Raises RequestError."""
        known = self._cached(constraint) or self._thread.submit(self._compile_once, constraint).result()
        if isinstance(known, RequestError):
            raise RequestError(str(known), known.field)
        return known

    def _cached(self, constraint: Constraint) -> "LLMatcher | RequestError | None":
        with self._lock:
            known = self._compiled.pop(constraint, None)
            if known is not None:
                self._compiled[constraint] = known
            return known

    def _compile_once(self, constraint: Constraint) -> "LLMatcher | RequestError":
        """In the compiling thread: another may have asked for it just before."""
        known = self._cached(constraint) or self._compile(constraint)
        with self._lock:
            self._compiled[constraint] = known
            if len(self._compiled) > MAX_CACHED:
                del self._compiled[next(iter(self._compiled))]
        return known

    @cached_property
    def _thread(self) -> ThreadPoolExecutor:
        """One thread, with a stack for deep recursion."""
        executor = ThreadPoolExecutor(1, "grammar compiler")
        before = threading.stack_size(STACK_BYTES)
        try:
            executor.submit(int).result()  # it starts the thread
        finally:
            threading.stack_size(before)
        return executor

    @cached_property
    def _tokenizer(self) -> "LLTokenizer":
        tokenizer: LLTokenizer = _llguidance().LLTokenizer(
            self._tokenizer_json, n_vocab=self._vocab_size, eos_token=list(self.end_tokens) or None
        )
        return tokenizer

    @cached_property
    def _limits(self) -> "LLParserLimits":
        limits: LLParserLimits = _llguidance().LLParserLimits(**LIMITS)
        return limits

    def _compile(self, constraint: Constraint) -> "LLMatcher | RequestError":
        try:
            if constraint.kind is ConstraintKind.JSON_SCHEMA:
                return self._compile_schema(constraint)
            matcher = self._matcher(_grammar(constraint))
        except RequestError as refusal:
            return refusal
        error = self._error(matcher)
        return RequestError(f"the {constraint.name} is wrong: {error}") if error else matcher

    def _compile_schema(self, constraint: Constraint) -> "LLMatcher":
        """Raises RequestError."""
        schema = _schema(constraint.text)
        matcher = self._schema_matcher(schema)
        if isinstance(matcher, str):
            path, error = locate(schema, self._schema_error)
            raise RequestError(f"the JSON schema is wrong at {'.'.join(path) or 'its top'}: {error}", ".".join(path))
        return matcher

    def _schema_error(self, schema: object) -> str:
        matcher = self._schema_matcher(schema)
        return matcher if isinstance(matcher, str) else ""

    def _schema_matcher(self, schema: object) -> "LLMatcher | str":
        """A matcher at the start of the answer, or what is wrong."""
        if not isinstance(schema, dict | bool):
            return f"it is {_json(schema):.80}, expected an object or a boolean"
        try:
            matcher = self._matcher(_schema_grammar(schema))
        except ValueError as error:  # of the schema's options for llguidance
            return str(error)
        return self._error(matcher) or matcher

    def _matcher(self, grammar: str) -> "LLMatcher":
        matcher: LLMatcher = _llguidance().LLMatcher(self._tokenizer, grammar, log_level=0, limits=self._limits)
        return matcher

    def _error(self, matcher: "LLMatcher") -> str:
        """What is wrong with the grammar, or with the start of its shortest answers."""
        probe = self._started(matcher, self.end_tokens)
        for _ in range(NUM_PROBED):
            if probe.failure or not probe.advance(int(probe.allowed().argmax())):
                break
        return probe.failure


def _import(module: str) -> Any:
    """A module that needs llguidance. Raises RequestError if that is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise RequestError(missing_extra("constrained output", "grammar", error)) from error


def _llguidance() -> Any:
    return _import("llguidance")


def _grammar(constraint: Constraint) -> str:
    """llguidance's form of a regular expression or a grammar. Raises RequestError."""
    matcher = _llguidance().LLMatcher
    if constraint.kind is ConstraintKind.REGEX:
        return str(matcher.grammar_from_regex(constraint.text))
    try:
        lark = _import("llguidance.gbnf_to_lark").any_to_lark(constraint.text)
    except Exception as error:
        raise RequestError(f"the grammar is wrong: {error}") from error
    return str(matcher.grammar_from_lark(lark))


def _schema(text: str) -> object:
    """Raises RequestError for what is no JSON, nests too deeply, or has too many references."""
    try:
        schema = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RequestError(f"the JSON schema is not JSON: {error}", "") from error
    num_references = _json(schema).count('"$ref"')
    if num_references > MAX_REFERENCES:
        raise RequestError(f"the JSON schema has {num_references} references, expected at most {MAX_REFERENCES}", "")
    return schema


def _schema_grammar(schema: dict[str, object] | bool) -> str:
    """`lenient` stays off whatever the schema says: a keyword that is not supported is refused, not ignored.

    Raises ValueError for wrong options in "x-guidance".
    """
    if isinstance(schema, bool):
        schema = {} if schema else {"enum": []}
    matcher = _llguidance().LLMatcher
    text = _json(with_inclusive_bounds(schema))
    return str(matcher.grammar_from_json_schema(text, defaults=_json_style(), overrides={"lenient": False}))


def _json_style() -> dict[str, object]:
    major, minor = (int(number) for number in importlib.metadata.version("llguidance").split(".")[:2])
    return dict(JSON_STYLE if (major, minor) >= (1, 8) else JSON_STYLE_BEFORE_1_8)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()

"""The formats in which models write tool calls, and how a model's own is found."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial

from goodspeed.drafter.http.tool_calls import hermes, llama, mistral, pythonic
from goodspeed.drafter.http.tool_calls.call_delta import Candidate
from goodspeed.drafter.http.tool_calls.json_scanner import SPACE
from goodspeed.drafter.http.tool_calls.tool_parser import ToolParser


@dataclass(frozen=True, slots=True)
class CallText:
    """How a format is written, for calls that must be made. Between the parts are name and arguments, as JSON."""

    opening: str
    before_name: str
    before_arguments: str
    after_arguments: str
    separator: str
    closing: str


@dataclass(frozen=True, slots=True)
class ToolFormat:
    """One format."""

    make: Callable[[Collection[str], int | None], ToolParser]
    """A parser for one answer to a request with these functions and this maximum number of calls."""
    markers: tuple[str, ...]
    """Special tokens that the parser must see; elsewhere they have no text."""
    written: CallText
    """What the parser reads; Python's values follow no JSON schema, so that calls that must be made are JSON."""


def _hermes(_functions: Collection[str], max_calls: int | None) -> ToolParser:
    return ToolParser({hermes.OPENER: hermes.HermesCall}, SPACE, max_calls)


def _llama(functions: Collection[str], max_calls: int | None) -> ToolParser:
    names = frozenset(functions)
    openers = {opener: partial(llama.LlamaCall, names.__contains__, opener) for opener in ("{", llama.PYTHON_TAG)}
    return ToolParser(openers, llama.PADDING, max_calls)


def _mistral(_functions: Collection[str], max_calls: int | None) -> ToolParser:
    return ToolParser({mistral.OPENER: mistral.MistralCalls}, SPACE, max_calls)


def _pythonic(functions: Collection[str], max_calls: int | None) -> ToolParser:
    names = frozenset(functions)
    openers: dict[str, Callable[[], Candidate]] = {
        "[": partial(pythonic.PythonicCalls, functions),
        "{": partial(llama.LlamaCall, names.__contains__, "{"),
    }
    return ToolParser(openers, SPACE + ";", max_calls)


LLAMA_TEXT = CallText("", '{"name": ', ', "parameters": ', "}", "; ", "")
FORMATS: Mapping[str, ToolFormat] = {
    "hermes": ToolFormat(
        _hermes,
        (hermes.OPENER, hermes.CLOSER),
        CallText("", f'{hermes.OPENER}\n{{"name": ', ', "arguments": ', f"}}\n{hermes.CLOSER}", "\n", ""),
    ),
    "llama": ToolFormat(_llama, (llama.PYTHON_TAG,), LLAMA_TEXT),
    "mistral": ToolFormat(
        _mistral,
        (mistral.OPENER, mistral.CALL_ID, mistral.ARGS),
        CallText(f"{mistral.OPENER}[", '{"name": ', ', "arguments": ', "}", ", ", "]"),
    ),
    "pythonic": ToolFormat(_pythonic, (), LLAMA_TEXT),
}

AUTO = "auto"
SIGNS: Mapping[str, tuple[str, ...]] = {
    "mistral": (mistral.OPENER,),
    "pythonic": ("func_name1(",),
    "hermes": (hermes.OPENER,),
    "llama": (llama.PYTHON_TAG, '"parameters": dictionary'),
}
"""What a chat template has in it if it tells the model to use this format; the first format with a sign is taken."""
OTHER_SIGNS = ("<function=", "<arg_key>")
"""Of formats without a parser, which have the tags of Hermes: Qwen3-Coder, GLM."""


def find_format(name: str, template: str) -> ToolFormat | None:
    """The format of this name, or for AUTO that of the chat template; None if the template shows none that is known."""
    if name != AUTO:
        return FORMATS[name]
    if any(sign in template for sign in OTHER_SIGNS):
        return None
    return next((FORMATS[kind] for kind, signs in SIGNS.items() if any(sign in template for sign in signs)), None)

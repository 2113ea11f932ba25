"""The formats in which models write tool calls, and how a model's own is found."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial

from goodspeed.drafter.http.tool_calls import hermes, llama, mistral, pythonic
from goodspeed.drafter.http.tool_calls.json_scanner import SPACE
from goodspeed.drafter.http.tool_calls.tool_parser import ToolParser


@dataclass(frozen=True, slots=True)
class ToolFormat:
    """One format."""

    make: Callable[[Collection[str], int | None], ToolParser]
    """A parser for one answer to a request with these functions and this maximum number of calls."""
    markers: tuple[str, ...]
    """Special tokens that the parser must see; elsewhere they have no text."""


def _hermes(_functions: Collection[str], max_calls: int | None) -> ToolParser:
    return ToolParser({hermes.OPENER: hermes.HermesCall}, SPACE, max_calls)


def _llama(functions: Collection[str], max_calls: int | None) -> ToolParser:
    names = frozenset(functions)
    openers = {opener: partial(llama.LlamaCall, names.__contains__, opener) for opener in ("{", llama.PYTHON_TAG)}
    return ToolParser(openers, llama.PADDING, max_calls)


def _mistral(_functions: Collection[str], max_calls: int | None) -> ToolParser:
    return ToolParser({mistral.OPENER: mistral.MistralCalls}, SPACE, max_calls)


def _pythonic(functions: Collection[str], max_calls: int | None) -> ToolParser:
    return ToolParser({"[": partial(pythonic.PythonicCalls, functions)}, SPACE, max_calls)


FORMATS: Mapping[str, ToolFormat] = {
    "hermes": ToolFormat(_hermes, (hermes.OPENER, hermes.CLOSER)),
    "llama": ToolFormat(_llama, (llama.PYTHON_TAG,)),
    "mistral": ToolFormat(_mistral, (mistral.OPENER, mistral.CALL_ID, mistral.ARGS)),
    "pythonic": ToolFormat(_pythonic, ()),
}

AUTO = "auto"
SIGNS: Mapping[str, tuple[str, ...]] = {
    "mistral": (mistral.OPENER,),
    "pythonic": ("func_name1(",),
    "hermes": (hermes.OPENER + "\\n{", hermes.OPENER + "\n{", hermes.OPENER + "{"),
    "llama": (llama.PYTHON_TAG, '"parameters": dictionary'),
}
"""What a chat template has in it if it tells the model to use this format; the first format with a sign is taken."""


def find_format(name: str, template: str) -> ToolFormat | None:
    """The format of this name, or for AUTO that of the chat template; None if the template shows none."""
    if name != AUTO:
        return FORMATS[name]
    return next((FORMATS[kind] for kind, signs in SIGNS.items() if any(sign in template for sign in signs)), None)

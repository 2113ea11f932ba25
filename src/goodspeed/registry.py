"""Named choices: a policy is one file and one registry line."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, TypeVar

from goodspeed.errors import ConfigError

T = TypeVar("T")


def nearest_name(name: str, known: Iterable[str]) -> str:
    """A hint such as "did you mean 'gradient'?", or the list of known names if none is similar."""
    names = list(known)
    return did_you_mean(name, names) or f"known: {', '.join(sorted(names))}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint such as "did you mean 'gradient'?"; empty if no known name is similar."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else ""


class Registry(Mapping[str, T], Generic[T]):
    """A read-only mapping from name to choice whose misses are ConfigErrors that name the nearest choice."""

    def __init__(self, kind: str, choices: Mapping[str, T]) -> None:
        self.kind = kind
        self._choices = dict(choices)

    def __getitem__(self, name: str) -> T:
        """Raises ConfigError if there is no such choice."""
        try:
            return self._choices[name]
        except KeyError:
            raise ConfigError(f"unknown {self.kind} {name!r}; {nearest_name(name, self._choices)}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._choices

    def __iter__(self) -> Iterator[str]:
        return iter(self._choices)

    def __len__(self) -> int:
        return len(self._choices)

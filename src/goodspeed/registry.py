"""Named choices: a policy is one file and one line in a registry, or an entry point of another distribution."""

import difflib
import functools
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint, EntryPoints, entry_points
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
    """A read-only mapping from name to choice. An unknown name is a ConfigError that suggests the nearest one.

    Installed distributions add choices with entry points of `group`, such as "goodspeed.scheduler". An entry point
    refers to what the choices of this registry are; built-in choices win over entry points of the same name. An entry
    point is loaded when its name is first looked up with `in` or `[]`, as the validation of a config does.
    """

    def __init__(self, kind: str, choices: Mapping[str, T], group: str = "") -> None:
        self.kind = kind
        self._choices = dict(choices)
        self._group = group

    def __getitem__(self, name: str) -> T:
        """Raises ConfigError if there is no such choice, or its entry point cannot be loaded."""
        if name not in self:
            raise ConfigError(f"unknown {self.kind} {name!r}; {nearest_name(name, self)}")
        return self._choices[name]

    def __contains__(self, name: object) -> bool:
        """Raises ConfigError if the choice is an entry point that cannot be loaded."""
        if name in self._choices:
            return True
        found = [each for each in _entry_points(self._group) if each.name == name]
        if found:
            self._choices[found[0].name] = self._load(found)
        return bool(found)

    def __iter__(self) -> Iterator[str]:
        """The names, built-in ones first. No entry point is loaded."""
        return iter(dict.fromkeys((*self._choices, *sorted(_entry_points(self._group).names))))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _load(self, found: list[EntryPoint]) -> T:
        """The choice of the entry points with one name, of which there must be one only."""
        sources = " and ".join(
            f"{each.value!r} of {each.dist.name if each.dist else 'no distribution'}" for each in found
        )
        if len(found) > 1:
            raise ConfigError(f"{self.kind} {found[0].name!r} is defined twice: {sources}")
        try:
            choice: T = found[0].load()
        except Exception as error:  # the import runs a third party's code, which may raise anything
            raise ConfigError(f"cannot load {self.kind} {found[0].name!r}, {sources}: {error!r}") from error
        return choice


@functools.cache
def _entry_points(group: str) -> EntryPoints:
    """The entry points of the group that are installed; they are read once per process."""
    return entry_points(group=group) if group else EntryPoints()

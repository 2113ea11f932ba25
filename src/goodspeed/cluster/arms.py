"""Parses the names of arms: a scheduler or a draft engine, followed by its options separated by commas."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from goodspeed.config import config_keys
from goodspeed.engine.co_located import CO_LOCATED_ENGINES, CoLocatedConfig
from goodspeed.engine.drafts import DRAFT_ENGINES, DraftConfig
from goodspeed.errors import ConfigError
from goodspeed.registry import nearest_name
from goodspeed.scheduling.policies import BASELINES, SCHEDULERS
from goodspeed.verifier.core.core_config import VerifierCoreConfig

AS_PUBLISHED: Mapping[str, object] = {"draft_selection": "arrival", "overcommit": 1.0, "co_located_tokens": 0}
"""Of baseline schedulers."""


def core_options(arm: str) -> dict[str, object]:
    """Options of VerifierCoreConfig from an arm such as `gradient,estimator=paper,beta=0.5`.

    A baseline scheduler runs as published: drafters alone draft, and tokens are verified as they arrive, unless the arm
    has other options. Raises ConfigError for an unknown scheduler or option.
    """
    scheduler, *options = arm.split(",")
    SCHEDULERS[scheduler]
    defaults = AS_PUBLISHED if scheduler in BASELINES else {}
    return {"scheduler": scheduler, **defaults} | _options(options, VerifierCoreConfig)


def core_flags(arm: str) -> tuple[str, ...]:
    """The options of core_options as flags of `goodspeed verifier`."""
    return _flags("core", core_options(arm))


def draft_flags(arm: str) -> tuple[str, ...]:
    """Flags of `goodspeed drafter` for an arm such as `hybrid,table=none`. Raises ConfigError."""
    engine, *options = arm.split(",")
    DRAFT_ENGINES[engine]
    return _flags("draft", {"engine": engine} | _options(options, DraftConfig))


def co_located_flags(arm: str) -> tuple[str, ...]:
    """Flags of `goodspeed verifier` for an arm such as `none` or `hybrid,shared=true`. Raises ConfigError."""
    engine, *options = arm.split(",")
    CO_LOCATED_ENGINES[engine]
    return _flags("co-located", {"engine": engine} | _options(options, CoLocatedConfig))


def _flags(table: str, options: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(word for name, value in options.items() for word in _flag(f"{table}.{name.replace('_', '-')}", value))


def _flag(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, bool):
        return (f"--{name}" if value else f"--no-{name}",)
    return (f"--{name}", str(value))


def _options(texts: Sequence[str], config: type[Any]) -> dict[str, object]:
    former = {path[-1]: key.name for key in config_keys(config) for path in key.former_paths}
    return dict(_option(text, [field.name for field in fields(config)], former) for text in texts)


def _option(text: str, names: Sequence[str], former: Mapping[str, str]) -> tuple[str, object]:
    name, _, value = text.partition("=")
    if name in former:
        raise ConfigError(f"an arm has {text!r}; {name!r} is called {former[name]} now")
    if name not in names:
        raise ConfigError(f"an arm has {text!r}, expected option=value; {nearest_name(name, list(names))}")
    try:
        return name, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name, value

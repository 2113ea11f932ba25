"""What an arm of a comparison is called: a scheduler, and options of the verifier's core behind commas."""

import tomllib
from dataclasses import fields

from goodspeed.errors import ConfigError
from goodspeed.scheduling.policies import BASELINES, SCHEDULERS
from goodspeed.verifier.core.config import CoreConfig


def core_options(arm: str) -> dict[str, object]:
    """Options of CoreConfig, as in `gradient,estimator=paper,beta=0.5`.

    A baseline shares by its rule alone, as published: its tokens are verified as they arrive, unless the arm says
    otherwise. Raises ConfigError for an unknown scheduler or option.
    """
    scheduler, *options = arm.split(",")
    SCHEDULERS[scheduler]
    plain: dict[str, object] = {"binding": "arrival", "overcommit": 1.0} if scheduler in BASELINES else {}
    return {"scheduler": scheduler} | plain | dict(_option(option) for option in options)


def core_flags(arm: str) -> tuple[str, ...]:
    """The same as flags of `goodspeed verifier`."""
    return tuple(
        word for name, value in core_options(arm).items() for word in (f"--core.{name.replace('_', '-')}", str(value))
    )


def _option(text: str) -> tuple[str, object]:
    name, _, value = text.partition("=")
    if name not in {field.name for field in fields(CoreConfig)}:
        raise ConfigError(f"an arm has {text!r}, expected option=value with an option of the verifier's core")
    try:
        return name, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name, value

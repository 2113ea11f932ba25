"""Service level objectives: latency limits, and the share of answers that has to keep them.

As in DistServe (arXiv 2401.09670) and in vLLM's benchmark: an answer is good if it keeps every limit, and
a load is served if a share of all answers is good. MLPerf states quantiles of single latencies instead ("p99"); an
objective with a quantile is that. A request that failed keeps no limit.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from goodspeed.errors import ConfigError
from goodspeed.experiment.served_run import ServedAnswer, ServedRun
from goodspeed.registry import Registry
from goodspeed.stats.summary import ratio

LATENCIES: Registry[tuple[str, Callable[[ServedAnswer], float | None]]] = Registry(
    "latency",
    {
        "ttft": ("time to first token", lambda answer: answer.ttft_s),
        "tpot": ("time per output token", lambda answer: answer.tpot_s),
        "latency": ("request latency", lambda answer: answer.latency_s),
    },
)
"""Title and value, by name. None (a single token has no time per output token) keeps every limit."""
UNITS: Final[Mapping[str, float]] = MappingProxyType({"ms": 1e-3, "s": 1.0})
DEFAULT_SHARE: Final = 0.99
FORM = re.compile(r"(?P<name>[a-z]+)(?:_p(?P<percentile>[\d.]+))?\s*=\s*(?P<number>[\d.]+)\s*(?P<unit>[a-z]*)")


@dataclass(frozen=True, slots=True)
class Objective:
    """A limit of a latency: of every good answer, or of a quantile of all answers."""

    latency: str  # a name in LATENCIES
    limit_s: float
    quantile: float | None = None  # of all answers; None: the limit is one of those that a good answer keeps

    def __post_init__(self) -> None:
        LATENCIES[self.latency]
        if not 0.0 < self.limit_s < math.inf:
            raise ConfigError(f"limit of {self.latency} is {self.limit_s:g} s, expected more than 0")
        if self.quantile is not None and not 0.0 < self.quantile < 1.0:
            raise ConfigError(
                f"percentile of {self.latency} is {100 * self.quantile:g}, expected more than 0, below 100"
            )

    @classmethod
    def parse(cls, text: str) -> "Objective":
        """Parse text such as 'tpot=50ms' or 'ttft_p95=1s'. Raises ConfigError."""
        found = FORM.fullmatch(text.strip())
        try:
            number, unit = float(found["number"]), UNITS[found["unit"]]  # type: ignore[index]
            quantile = float(found["percentile"]) / 100 if found and found["percentile"] else None
        except (TypeError, ValueError, KeyError):
            raise ConfigError(
                f"slo has {text.strip()!r}, expected NAME=LIMIT or NAME_pNN=LIMIT with a limit in ms or s, such as "
                f"tpot=50ms or ttft_p95=1s; names: {', '.join(LATENCIES)}"
            ) from None
        assert found is not None
        return cls(found["name"], number * unit, quantile)

    @property
    def name(self) -> str:
        """As in the text that it was parsed from."""
        quantile = "" if self.quantile is None else f"_p{100 * self.quantile:g}"
        limit = f"{self.limit_s:g}s" if self.limit_s >= 1.0 else f"{1e3 * self.limit_s:g}ms"
        return f"{self.latency}{quantile}={limit}"

    def is_kept(self, answer: ServedAnswer) -> bool:
        """Whether the answer is within the limit."""
        value = LATENCIES[self.latency][1](answer)
        return value is None or value <= self.limit_s


@dataclass(frozen=True, slots=True)
class Slo:
    """All objectives. `share` is that of good answers; objectives with a quantile have their own."""

    objectives: tuple[Objective, ...]  # at least one
    share: float = DEFAULT_SHARE

    @classmethod
    def parse(cls, text: str, share: str = "") -> "Slo":
        """Parse text such as 'tpot=50ms,ttft=1s' and a share such as '99%'; empty: 99%. Raises ConfigError."""
        objectives = tuple(map(Objective.parse, text.split(","))) if text.strip() else ()
        if not objectives:
            raise ConfigError("slo is empty, expected latencies and their limits such as tpot=50ms,ttft=1s")
        keys = [(objective.latency, objective.quantile) for objective in objectives]
        if len(set(keys)) < len(keys):
            raise ConfigError(f"slo is {text!r}, expected each latency only once")
        if share and all(objective.quantile is not None for objective in objectives):
            raise ConfigError(f"share is {share!r}, but every objective of {text!r} has a percentile of its own")
        return cls(objectives, _share(share) if share else DEFAULT_SHARE)

    @property
    def name(self) -> str:
        """The objectives as text."""
        objectives = ",".join(objective.name for objective in self.objectives)
        return f"{objectives} for {100 * self.share:g}%" if self.has_share else objectives

    @property
    def has_share(self) -> bool:
        """Whether a share of all answers has to be good; otherwise every objective has its own quantile."""
        return any(objective.quantile is None for objective in self.objectives)

    @property
    def limits(self) -> tuple[Objective, ...]:
        """What a good answer keeps: the objectives without a quantile, or all if there are none."""
        return tuple(one for one in self.objectives if one.quantile is None) or self.objectives

    def is_good(self, answer: ServedAnswer) -> bool:
        """Whether the answer keeps all limits."""
        return all(objective.is_kept(answer) for objective in self.limits)

    def counted(self, run: ServedRun) -> list[ServedAnswer]:
        """The answers by which the run is judged: finished ones, and unfinished ones that break an objective by now."""
        late = [one for one in run.unfinished if not all(objective.is_kept(one) for objective in self.objectives)]
        return [*run.answers, *late]

    def attainment(self, answers: Sequence[ServedAnswer], num_failed: int) -> "Attainment":
        """How far requests keep the objectives."""
        num_all = len(answers) + num_failed
        kept = {one: ratio(sum(map(one.is_kept, answers)), num_all) for one in self.objectives}
        good = ratio(sum(map(self.is_good, answers)), num_all)
        has_quantiles = all(share >= one.quantile for one, share in kept.items() if one.quantile is not None)
        return Attainment(
            good_share=good,
            kept_shares={one.name: share for one, share in kept.items()},
            failed_share=ratio(num_failed, num_all),
            is_attained=num_all > 0 and has_quantiles and (not self.has_share or good >= self.share),
        )


@dataclass(frozen=True, slots=True)
class Attainment:
    """Shares of all requests of a run, failed ones included; NaN without requests."""

    good_share: float  # that keep all limits
    kept_shares: dict[str, float]  # that keep an objective's limit, by the objective's name
    failed_share: float
    is_attained: bool


def _share(text: str) -> float:
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = math.nan
    if not 0.0 < share < 1.0:
        raise ConfigError(f"share is {text!r}, expected a share of answers such as 99%")
    return share

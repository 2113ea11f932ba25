"""A scenario: who is there, how they are connected, what they ask, and for how long."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from goodspeed.config import from_mapping, option, read_toml, table
from goodspeed.drafter.core.core_config import RetryConfig
from goodspeed.errors import ConfigError
from goodspeed.protocol.link_config import LinkConfig, Outage
from goodspeed.protocol.messages import Mode
from goodspeed.registry import Registry, nearest_name
from goodspeed.routing.policies import ROUTINGS
from goodspeed.simulator.acceptance.models import AcceptanceConfig
from goodspeed.simulator.latency.models import LatencyConfig
from goodspeed.simulator.machine import MachineConfig
from goodspeed.simulator.outage import VerifierOutage, check_times
from goodspeed.simulator.ranges import at_least, positive, share
from goodspeed.simulator.workload.workloads import WorkloadConfig
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.windows.policies import WindowConfig

MODES: Registry[Mode] = Registry("mode", {"distributed": Mode.DISTRIBUTED, "fused": Mode.TARGET_ONLY})
BANDWIDTHS = {"bandwidth_mbps", "up_mbps", "down_mbps"}


@dataclass(frozen=True, slots=True)
class VerifierTier:
    """Verifiers of one kind. Raises ConfigError for values out of range."""

    name: str = option("verifier", "of the tier; its verifiers are name-0, name-1 ...")
    count: int = option(1, "how many there are")
    kv_capacity: int = option(100_000, "tokens of all streams together that each can hold")
    max_context: int = option(8_192, "tokens of one stream, prompt and answer")
    latency: LatencyConfig = table(LatencyConfig)
    core: VerifierCoreConfig = table(VerifierCoreConfig)
    outages: tuple[VerifierOutage, ...] = option((), "times in which one of them is dead")

    def __post_init__(self) -> None:
        for field in ("count", "kv_capacity", "max_context"):
            at_least(field, getattr(self, field), 1)
        for outage in self.outages:
            if not 0 <= outage.index < self.count:
                raise ConfigError(
                    f"outages.index is {outage.index}, expected 0 to {self.count - 1}: {self.name!r} has {self.count}"
                )
        for index in range(self.count):
            check_times(f"outages of {self.name}-{index}", [one for one in self.outages if one.index == index])

    def is_ever_up(self, index: int, until_s: float) -> bool:
        """The verifier of this index, at some time before `until_s`."""
        return not any(one.index == index and one.start_s <= 0.0 and one.duration_s >= until_s for one in self.outages)


@dataclass(frozen=True, slots=True)
class SharedLink:
    """A link behind which several drafters sit. Raises ConfigError for values out of range."""

    num_drafters: int = option(1, "so many drafters of the tier share one; 1: nothing is shared")
    up_mbps: float = option(0.0, "megabits per second that they have together upwards; 0 = unlimited")
    down_mbps: float = option(0.0, "and downwards")

    def __post_init__(self) -> None:
        at_least("shared.num_drafters", self.num_drafters, 1)
        for field in ("up_mbps", "down_mbps"):
            at_least(f"shared.{field}", getattr(self, field), 0.0)


@dataclass(frozen=True, slots=True)
class DrafterTier:
    """Drafters of one kind, each with its user. Raises ConfigError for values out of range."""

    name: str = option("drafter", "of the tier; its drafters are name-0, name-1 ...")
    count: int = option(1, "how many there are")
    mode: str = option("", "distributed or fused, where it differs from the scenario's")
    routing: str = option("", "how they choose among their verifiers, where it differs from the scenario's")
    verifiers: tuple[str, ...] = option((), "verifier tiers that they know; empty: all")
    fan_out: int = option(0, "how many verifiers each knows; 0 = all of these tiers")
    distance_spread: float = option(0.0, "round trips to a drafter's verifiers differ by up to this share, either way")
    latency: LatencyConfig = table(LatencyConfig)
    link: LinkConfig = table(LinkConfig)
    downlink: LinkConfig | None = option(None, "the way down, where it differs from `link`")
    shared: SharedLink = table(SharedLink)
    cuts: tuple[Outage, ...] = option((), "times without any network: connections are lost, and made again")
    window: WindowConfig = table(WindowConfig)
    retry: RetryConfig = table(RetryConfig)
    workload: WorkloadConfig = table(WorkloadConfig)
    acceptance: AcceptanceConfig = table(AcceptanceConfig)

    def __post_init__(self) -> None:
        at_least("count", self.count, 1)
        at_least("fan_out", self.fan_out, 0)
        share("distance_spread", self.distance_spread)
        check_times("cuts", self.cuts)
        if self.mode:
            MODES[self.mode]
        if self.routing:
            ROUTINGS[self.routing]


@dataclass(frozen=True, slots=True)
class Scenario:
    """Raises ConfigError for values out of range, and for what cannot work together."""

    name: str = option("scenario", "for reports")
    duration_s: float = option(60.0, "simulated seconds")
    seed: int = option(0, "of everything random")
    mode: str = option("distributed", "distributed: drafters draft; fused: verifiers generate alone and stream")
    routing: str = option("failover", f"how drafters choose among their verifiers: {', '.join(ROUTINGS)}")
    machine: MachineConfig = table(MachineConfig)
    verifiers: tuple[VerifierTier, ...] = option((VerifierTier(),), "[[verifiers]] tables")
    drafters: tuple[DrafterTier, ...] = option((DrafterTier(),), "[[drafters]] tables")

    def __post_init__(self) -> None:
        positive("duration_s", self.duration_s)
        at_least("seed", self.seed, 0)
        MODES[self.mode]
        ROUTINGS[self.routing]
        _check_names("verifiers", [tier.name for tier in self.verifiers])
        _check_names("drafters", [tier.name for tier in self.drafters])
        for tier in self.drafters:
            self._check_reach(tier)

    def mode_of(self, tier: DrafterTier) -> Mode:
        """Who makes a tier's tokens."""
        return MODES[tier.mode or self.mode]

    def routing_of(self, tier: DrafterTier) -> str:
        """How a tier's drafters choose among their verifiers."""
        return tier.routing or self.routing

    @property
    def clients(self) -> tuple[str, ...]:
        """Names of all drafters."""
        return tuple(f"{tier.name}-{number}" for tier in self.drafters for number in range(tier.count))

    def _check_reach(self, tier: DrafterTier) -> None:
        known = [one.name for one in self.verifiers]
        for name in tier.verifiers:
            if name not in known:
                raise ConfigError(
                    f"drafters {tier.name!r} cannot reach a verifier tier {name!r}; {nearest_name(name, known)}"
                )
        reachable = [one for one in self.verifiers if not tier.verifiers or one.name in tier.verifiers]
        if not any(one.is_ever_up(index, self.duration_s) for one in reachable for index in range(one.count)):
            raise ConfigError(f"drafters {tier.name!r} reach no verifier: all are dead for the whole run")
        for way in (tier.link, tier.downlink):
            if way and any(outage.start_s <= 0.0 and outage.duration_s >= self.duration_s for outage in way.outages):
                raise ConfigError(f"drafters {tier.name!r} reach no verifier: an outage lasts for the whole run")


def read_scenario(path: Path) -> Scenario:
    """The scenario in a TOML file. Raises ConfigError."""
    return scenario_of(read_toml(path))


def scenario_of(values: Mapping[str, Any]) -> Scenario:
    """The scenario of a TOML file's values. Raises ConfigError."""
    _check_bandwidths(values, "")
    return from_mapping(Scenario, values)


def _check_bandwidths(values: object, where: str) -> None:
    """0 is the default and means no limit, but who writes it down means a link that delivers nothing."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            if key in BANDWIDTHS and value == 0:
                raise ConfigError(f"{where}{key} is 0: nothing would ever arrive; leave it out for no limit")
            _check_bandwidths(value, f"{where}{key}.")
    elif isinstance(values, list):
        for index, value in enumerate(values):
            _check_bandwidths(value, f"{where[:-1]}[{index}].")


def _check_names(what: str, names: list[str]) -> None:
    if not names:
        raise ConfigError(f"{what} is empty, expected at least one [[{what}]] table")
    for name in names:
        if not name or names.count(name) > 1:
            raise ConfigError(f"{what} has the name {name!r} {names.count(name)} times, expected different names")

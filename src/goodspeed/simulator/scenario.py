"""A scenario: verifiers, drafters, the links between them, the users' requests, and the simulated time."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from goodspeed.config import config_dataclass, from_mapping, option, read_toml, table
from goodspeed.decoding.mode import Mode
from goodspeed.drafter.core.core_config import RetryConfig
from goodspeed.drafter.core.run_ahead import AUTO
from goodspeed.drafter.core.run_ahead import MODES as RUN_AHEAD_MODES
from goodspeed.errors import ConfigError
from goodspeed.protocol.link_config import LinkConfig, Outage
from goodspeed.registry import Registry, nearest_name
from goodspeed.routing.policies import ROUTINGS
from goodspeed.simulator.acceptance.models import AcceptanceConfig
from goodspeed.simulator.co_located import CoLocatedCost
from goodspeed.simulator.latency.models import LatencyConfig
from goodspeed.simulator.machine import MachineConfig
from goodspeed.simulator.outage import VerifierOutage, check_times
from goodspeed.simulator.workload.workloads import WorkloadConfig
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.windows.policies import WindowConfig

MODES: Registry[Mode] = Registry(
    "mode",
    {"distributed": Mode.DISTRIBUTED, "target_only": Mode.TARGET_ONLY, "co_located": Mode.CO_LOCATED},
)
FORMER_MODES = {"fused": "target_only"}
BANDWIDTHS = {"bandwidth_mbps", "up_mbps", "down_mbps"}


@config_dataclass
class VerifierTier:
    """Verifiers of one kind."""

    name: str = option("verifier", "name of the tier; its verifiers are name-0, name-1 ...")
    count: int = option(1, "number of verifiers", ge=1)
    kv_capacity: int = option(100_000, "tokens of all streams together that each can hold", ge=1)
    kv_block: int = option(16, "tokens of a block of KV memory", ge=1)
    max_context: int = option(8_192, "tokens of one stream, prompt and answer", ge=1)
    latency: LatencyConfig = table(LatencyConfig)
    co_located: CoLocatedCost = table(CoLocatedCost)
    core: VerifierCoreConfig = table(VerifierCoreConfig)
    outages: tuple[VerifierOutage, ...] = option((), "[[verifiers.outages]] tables: times in which one is down")

    def __post_init__(self) -> None:
        for outage in self.outages:
            if outage.index >= self.count:
                raise ConfigError(
                    f"outages.index is {outage.index}, expected 0 to {self.count - 1}: {self.name!r} has {self.count}"
                )
        for index in range(self.count):
            check_times(f"outages of {self.name}-{index}", [outage for outage in self.outages if outage.index == index])

    def is_ever_up(self, index: int, until_s: float) -> bool:
        """Whether the verifier of this index is up at some time before `until_s`."""
        return not any(
            outage.index == index and outage.start_s <= 0.0 and outage.duration_s >= until_s for outage in self.outages
        )


@config_dataclass
class SharedLink:
    """A link behind which several drafters of a tier sit."""

    num_drafters: int = option(1, "drafters of the tier that share one such link; 1: nothing is shared", ge=1)
    up_mbps: float = option(0.0, "megabits per second from these drafters together; 0: unlimited", ge=0.0)
    down_mbps: float = option(0.0, "megabits per second to these drafters together; 0: unlimited", ge=0.0)


@config_dataclass
class DrafterTier:
    """Drafters of one kind, each with its user."""

    name: str = option("drafter", "name of the tier; its drafters are name-0, name-1 ...")
    count: int = option(1, "number of drafters", ge=1)
    mode: str = option(
        "", "mode of the streams; empty: the scenario's", choices=lambda: ("", *MODES), was_values=FORMER_MODES
    )
    routing: str = option(
        "", "policy that chooses the verifier of a new stream; empty: the scenario's", choices=lambda: ("", *ROUTINGS)
    )
    verifiers: tuple[str, ...] = option((), "verifier tiers that the drafters know; empty: all")
    fan_out: int = option(0, "number of verifiers that each drafter knows; 0: all of these tiers", ge=0)
    distance_spread: float = option(
        0.0, "round trips to a drafter's verifiers differ by up to this share, up or down", ge=0.0, le=1.0
    )
    latency: LatencyConfig = table(LatencyConfig)
    link: LinkConfig = table(LinkConfig)
    downlink: LinkConfig | None = option(None, "link from the verifiers to the drafters, where it differs from `link`")
    shared: SharedLink = table(SharedLink)
    cuts: tuple[Outage, ...] = option(
        (), "[[drafters.cuts]] tables: times without network, in which connections are lost"
    )
    window: WindowConfig = table(WindowConfig)
    run_ahead: str = option(
        AUTO, "drafting past a proposal that is under way: auto, never or always", choices=RUN_AHEAD_MODES
    )
    retry: RetryConfig = table(RetryConfig)
    workload: WorkloadConfig = table(WorkloadConfig)
    acceptance: AcceptanceConfig = table(AcceptanceConfig)
    co_located_acceptance: AcceptanceConfig | None = option(
        None,
        "acceptance of the drafts that the verifiers make for these streams; without it they make none. It takes the "
        "random numbers of `acceptance`: a token that is hard for the one is hard for the other",
    )

    def __post_init__(self) -> None:
        check_times("cuts", self.cuts)


@config_dataclass
class Scenario:
    """A simulated deployment: verifiers, drafters, links and users."""

    name: str = option("scenario", "name for reports")
    duration_s: float = option(60.0, "simulated seconds", gt=0.0)
    seed: int = option(0, "seed of all random streams", ge=0)
    mode: str = option(
        "distributed",
        "distributed: drafters and verifiers draft; co_located: verifiers alone; target_only: nobody",
        choices=lambda: MODES,
        was_values=FORMER_MODES,
    )
    routing: str = option("failover", "policy that chooses the verifier of a new stream", choices=ROUTINGS)
    machine: MachineConfig = table(MachineConfig)
    verifiers: tuple[VerifierTier, ...] = option((VerifierTier(),), "[[verifiers]] tables", is_required=True)
    drafters: tuple[DrafterTier, ...] = option((DrafterTier(),), "[[drafters]] tables", is_required=True)

    def __post_init__(self) -> None:
        _check_names("verifiers", [tier.name for tier in self.verifiers])
        _check_names("drafters", [tier.name for tier in self.drafters])
        for tier in self.drafters:
            self._check_reach(tier)

    def mode_of(self, tier: DrafterTier) -> Mode:
        """The mode of a tier's streams."""
        return MODES[tier.mode or self.mode]

    def routing_of(self, tier: DrafterTier) -> str:
        """The routing policy of a tier's drafters."""
        return tier.routing or self.routing

    @property
    def clients(self) -> tuple[str, ...]:
        """Names of all drafters."""
        return tuple(f"{tier.name}-{number}" for tier in self.drafters for number in range(tier.count))

    def _check_reach(self, tier: DrafterTier) -> None:
        known = [verifiers.name for verifiers in self.verifiers]
        for name in tier.verifiers:
            if name not in known:
                raise ConfigError(
                    f"drafters {tier.name!r} cannot reach a verifier tier {name!r}; {nearest_name(name, known)}"
                )
        reachable = [one for one in self.verifiers if not tier.verifiers or one.name in tier.verifiers]
        if not any(one.is_ever_up(index, self.duration_s) for one in reachable for index in range(one.count)):
            raise ConfigError(f"drafters {tier.name!r} reach no verifier: all are down for the whole run")
        for link in (tier.link, tier.downlink):
            if link and any(outage.start_s <= 0.0 and outage.duration_s >= self.duration_s for outage in link.outages):
                raise ConfigError(f"drafters {tier.name!r} reach no verifier: an outage lasts for the whole run")


def read_scenario(path: Path) -> Scenario:
    """The scenario in a TOML file. Raises ConfigError."""
    return scenario_of(read_toml(path))


def scenario_of(values: Mapping[str, Any]) -> Scenario:
    """The scenario of a TOML file's values. Raises ConfigError."""
    _check_bandwidths(values, "")
    return from_mapping(Scenario, values)


def _check_bandwidths(values: object, where: str) -> None:
    """Refuse an explicit 0. It is the default and means no limit, but reads like a link that delivers nothing."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            if key in BANDWIDTHS and value == 0:
                raise ConfigError(f"{where}{key} is 0: nothing would ever arrive; leave it out for no limit")
            _check_bandwidths(value, f"{where}{key}.")
    elif isinstance(values, list):
        for index, value in enumerate(values):
            _check_bandwidths(value, f"{where[:-1]}[{index}].")


def _check_names(what: str, names: list[str]) -> None:
    for name in names:
        if not name or names.count(name) > 1:
            raise ConfigError(f"{what} has the name {name!r} {names.count(name)} times, expected different names")

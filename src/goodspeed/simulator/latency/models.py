"""The latency models by name."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from goodspeed.config import option
from goodspeed.config import table as part
from goodspeed.errors import ConfigError
from goodspeed.registry import Registry
from goodspeed.simulator.latency.aiconfigurator import AiconfiguratorConfig
from goodspeed.simulator.latency.host import HostedLatency
from goodspeed.simulator.latency.latency_model import LatencyModel
from goodspeed.simulator.latency.linear import LinearConfig
from goodspeed.simulator.latency.measured_table import TableConfig
from goodspeed.simulator.latency.roofline import RooflineConfig


@dataclass(frozen=True, slots=True)
class LatencyConfig:
    """Which latency model, with a table for each one's own numbers.

    Raises ConfigError for an unknown kind and values out of range.
    """

    kind: str = option("linear", "how a step's time is known: linear, table, roofline or aiconfigurator")
    host_s: float = option(0.0, "seconds that the host adds to each step")
    host_stream_s: float = option(0.0, "seconds that the host adds to each step per stream in it")
    linear: LinearConfig = part(LinearConfig)
    table: TableConfig = part(TableConfig)
    roofline: RooflineConfig = part(RooflineConfig)
    aiconfigurator: AiconfiguratorConfig = part(AiconfiguratorConfig)

    def __post_init__(self) -> None:
        LATENCIES[self.kind]
        for name in ("host_s", "host_stream_s"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected 0 or more")

    def model(self) -> LatencyModel:
        """The model that the config describes, host included. Raises ConfigError for what its kind cannot find."""
        device = LATENCIES[self.kind](self)
        if not self.host_s and not self.host_stream_s:
            return device
        return HostedLatency(device, self.host_s, self.host_stream_s)


LATENCIES: Registry[Callable[[LatencyConfig], LatencyModel]] = Registry(
    "latency model",
    {
        "linear": lambda config: config.linear.model(),
        "table": lambda config: config.table.model(),
        "roofline": lambda config: config.roofline.model(),
        "aiconfigurator": lambda config: config.aiconfigurator.model(),
    },
)

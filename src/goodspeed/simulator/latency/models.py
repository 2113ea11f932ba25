"""The latency models by name."""

from collections.abc import Callable

from goodspeed.config import config_dataclass, option
from goodspeed.config import table as part
from goodspeed.registry import Registry
from goodspeed.simulator.latency.aiconfigurator import AiconfiguratorConfig
from goodspeed.simulator.latency.host_time import HostedLatency
from goodspeed.simulator.latency.latency_model import LatencyModel
from goodspeed.simulator.latency.linear import LinearConfig
from goodspeed.simulator.latency.measured_table import MeasuredTableConfig
from goodspeed.simulator.latency.roofline import RooflineConfig


@config_dataclass
class LatencyConfig:
    """The latency model of an engine. Only the table of the chosen kind is used."""

    kind: str = option("linear", "model of the time that a step takes", choices=lambda: LATENCIES)
    host_s: float = option(0.0, "seconds that the host adds to each step", ge=0.0)
    host_stream_s: float = option(0.0, "seconds that the host adds to each step per stream in it", ge=0.0)
    linear: LinearConfig = part(LinearConfig)
    table: MeasuredTableConfig = part(MeasuredTableConfig)
    roofline: RooflineConfig = part(RooflineConfig)
    aiconfigurator: AiconfiguratorConfig = part(AiconfiguratorConfig)

    def model(self) -> LatencyModel:
        """The configured model, host time included. Raises ConfigError if a file or table that it needs is missing."""
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

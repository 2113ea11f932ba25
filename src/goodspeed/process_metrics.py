"""Metrics that every server has: what its process uses, and which build it is.

The names of the process's metrics are Prometheus's own; the client library exports them on Linux alone.
"""

import platform
from collections.abc import Iterator

import psutil
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

import goodspeed


def watch_process(registry: CollectorRegistry, protocol_version: int) -> None:
    """Add the metrics of this process."""
    registry.register(_Process())
    registry.register(_Build(protocol_version))


class _Process(Collector):
    """What this process uses, read when the registry is scraped."""

    def __init__(self) -> None:
        self._process = psutil.Process()

    def collect(self) -> Iterator[Metric]:
        process = self._process
        with process.oneshot():
            cpu, memory = process.cpu_times(), process.memory_info()
            yield CounterMetricFamily("process_cpu_seconds", "CPU time, user and system", cpu.user + cpu.system)
            yield GaugeMetricFamily("process_resident_memory_bytes", "memory in use", memory.rss)
            yield GaugeMetricFamily("process_virtual_memory_bytes", "address space in use", memory.vms)
            yield GaugeMetricFamily("process_open_fds", "open files and connections", process.num_fds())
            yield GaugeMetricFamily("process_threads", "threads", process.num_threads())
            yield GaugeMetricFamily("process_start_time_seconds", "start, since 1970", process.create_time())


class _Build(Collector):
    """The versions of this server."""

    def __init__(self, protocol_version: int) -> None:
        self._versions = [goodspeed.__version__, str(protocol_version), platform.python_version()]

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily("goodspeed_build_info", "1 for this build", labels=["version", "protocol", "python"])
        family.add_metric(self._versions, 1)
        yield family

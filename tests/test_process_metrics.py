"""What every server tells of its process."""

import os
import time

from prometheus_client import CollectorRegistry

import goodspeed
from goodspeed.process_metrics import watch_process


def test_process_and_build_are_shown() -> None:
    registry = CollectorRegistry()
    watch_process(registry, protocol_version=5)
    samples = {sample.name: sample for family in registry.collect() for sample in family.samples}
    assert samples["process_resident_memory_bytes"].value > 1e6
    assert samples["process_virtual_memory_bytes"].value >= samples["process_resident_memory_bytes"].value
    assert 0 < samples["process_cpu_seconds_total"].value <= time.process_time() + 1.0
    assert samples["process_open_fds"].value >= 3
    assert samples["process_threads"].value >= 1
    assert samples["process_start_time_seconds"].value <= time.time()
    assert samples["goodspeed_build_info"].labels["version"] == goodspeed.__version__
    assert samples["goodspeed_build_info"].labels["protocol"] == "5"


def test_cpu_time_grows_and_files_are_counted() -> None:
    registry = CollectorRegistry()
    watch_process(registry, 4)
    before = registry.get_sample_value("process_open_fds")
    with open(os.devnull, encoding="utf-8"):
        assert registry.get_sample_value("process_open_fds") == (before or 0) + 1

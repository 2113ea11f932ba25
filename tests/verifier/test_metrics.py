"""The metrics that Prometheus scrapes."""

import asyncio
import urllib.request

from prometheus_client.parser import text_string_to_metric_families
from tests.verifier.live import LiveDrafter, connect_drafter, live_verifier

from goodspeed.engine.toy_target import ToyTarget
from goodspeed.testing.virtual_verifier import open_request
from goodspeed.verifier.metrics import LoopCollector, MetricsServer

PER_CLIENT = {
    "goodspeed_rounds_total",
    "goodspeed_proposed_tokens_total",
    "goodspeed_accepted_tokens_total",
    "goodspeed_committed_tokens_total",
    "goodspeed_baseline_seconds_total",
    "goodspeed_answer_seconds_total",
    "goodspeed_acceptance_rate",
    "goodspeed_grant",
    "goodspeed_received_bytes_total",
    "goodspeed_sent_bytes_total",
    "goodspeed_bytes_per_committed_token",
}
OTHERS = {
    "goodspeed_batch_streams_count",
    "goodspeed_batch_tokens_count",
    "goodspeed_verify_seconds_count",
    "goodspeed_queue_seconds_count",
    "goodspeed_open_streams",
    "goodspeed_queued_streams",
    "goodspeed_kv_used_tokens",
    "goodspeed_kv_capacity_tokens",
}


def scrape(port: int) -> dict[str, dict[str, float]]:
    """Values by metric and client ("" for metrics without clients)."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        text = response.read().decode()
    values: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            values.setdefault(sample.name, {})[sample.labels.get("client", "")] = sample.value
    return values


def test_metrics_count_what_happened() -> None:
    async def run() -> dict[str, dict[str, float]]:
        async with live_verifier(ToyTarget()) as live:
            registry = live.server.metrics.registry
            registry.register(LoopCollector(live.server.collect_metrics, asyncio.get_running_loop()))
            metrics_server = MetricsServer(registry, "127.0.0.1", 0)
            for name in ("a", "b"):
                connection = await connect_drafter(live.connect, name)
                await LiveDrafter(connection, 0.7).generate([open_request(1, max_tokens=50)])
                if name == "a":
                    await connection.close()  # its bytes remain counted
            values = await asyncio.to_thread(scrape, metrics_server.port)
            await asyncio.to_thread(metrics_server.close)
            return values

    values = asyncio.run(run())
    assert set(values) >= PER_CLIENT | OTHERS
    for name in PER_CLIENT:
        assert set(values[name]) == {"a", "b"}
    for client in ("a", "b"):
        assert values["goodspeed_committed_tokens_total"][client] == 50
        assert 50 > values["goodspeed_rounds_total"][client] > 50 / 17
        assert values["goodspeed_accepted_tokens_total"][client] == 50 - values["goodspeed_rounds_total"][client]
        num_bytes = values["goodspeed_received_bytes_total"][client] + values["goodspeed_sent_bytes_total"][client]
        assert values["goodspeed_bytes_per_committed_token"][client] == num_bytes / 50
    rounds = sum(values["goodspeed_rounds_total"].values())
    assert values["goodspeed_queue_seconds_count"][""] == rounds
    assert values["goodspeed_kv_used_tokens"][""] == 0

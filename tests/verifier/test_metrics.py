"""The metrics that Prometheus scrapes."""

import asyncio
import logging
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families
from tests.verifier.live import LiveDrafter, LiveVerifierServer, connect_drafter, live_verifier

from goodspeed.decoding.mode import Mode
from goodspeed.engine.calibration import Calibration
from goodspeed.engine.co_located import interpreted_drafts
from goodspeed.engine.hybrid import DraftKnowledge
from goodspeed.engine.lookup import LookupSource
from goodspeed.engine.toy_target import ToyTarget
from goodspeed.protocol.messages import RoundMode
from goodspeed.testing.virtual_verifier import open_request
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.metrics import LoopCollector, MetricsServer

LABELS = [mode.label for mode in RoundMode]
PER_CLIENT = {
    "goodspeed_rounds_total",
    "goodspeed_proposed_tokens_total",
    "goodspeed_verified_tokens_total",
    "goodspeed_accepted_tokens_total",
    "goodspeed_co_located_tokens_total",
    "goodspeed_co_located_accepted_tokens_total",
    "goodspeed_shadow_drafts_total",
    "goodspeed_shadow_accepted_tokens_total",
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
    "goodspeed_co_located_drafting_seconds_count",
    "goodspeed_queue_seconds_count",
    "goodspeed_open_streams",
    "goodspeed_queued_streams",
    "goodspeed_preempted_streams",
    "goodspeed_preemptions_total",
    "goodspeed_kv_used_tokens",
    "goodspeed_kv_retained_tokens",
    "goodspeed_kv_capacity_tokens",
    "goodspeed_prefix_cache_tokens",
    "goodspeed_prefix_cache_lookups_total",
    "goodspeed_prefix_cache_queried_tokens_total",
    "goodspeed_prefix_cache_hit_tokens_total",
    "goodspeed_prefix_cache_evictions_total",
}


Values = dict[str, dict[str, float]]
"""By metric and client ("" for metrics without clients); with modes, by client and mode ("ann remote")."""


def scrape(port: int) -> Values:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        text = response.read().decode()
    values: Values = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = [sample.labels[name] for name in ("client", "mode") if name in sample.labels]
            values.setdefault(sample.name, {})[" ".join(labels)] = sample.value
    return values


@asynccontextmanager
async def scraped(live: LiveVerifierServer) -> AsyncIterator[Callable[[], Awaitable[Values]]]:
    """Serves the verifier's metrics; yields a function that scrapes them."""
    registry = live.server.metrics.registry
    registry.register(LoopCollector(live.server.collect_metrics, asyncio.get_running_loop()))
    metrics_server = MetricsServer(registry, "127.0.0.1", 0)
    yield lambda: asyncio.to_thread(scrape, metrics_server.port)
    await asyncio.to_thread(metrics_server.close)


def test_metrics_count_what_happened() -> None:
    async def run() -> Values:
        always_drafts = VerifierCoreConfig(scheduler="fixed", draft_selection="arrival")
        async with live_verifier(ToyTarget(), always_drafts) as live, scraped(live) as scrape_now:
            for name in ("a", "b"):
                connection = await connect_drafter(live.connect, name)
                await LiveDrafter(connection, 0.7).generate([open_request(1, max_tokens=50)])
                if name == "a":
                    await connection.close()  # its bytes remain counted
            return await scrape_now()

    values = asyncio.run(run())
    assert set(values) >= PER_CLIENT | OTHERS
    for name in PER_CLIENT:
        assert set(values[name]) == {"a", "b"}
    for client in ("a", "b"):
        assert values["goodspeed_committed_tokens_total"][client] == 50
        assert 50 > values["goodspeed_rounds_total"][client] > 50 / 17
        assert values["goodspeed_accepted_tokens_total"][client] == 50 - values["goodspeed_rounds_total"][client]
        assert values["goodspeed_proposed_tokens_total"][client] >= values["goodspeed_verified_tokens_total"][client]
        num_bytes = values["goodspeed_received_bytes_total"][client] + values["goodspeed_sent_bytes_total"][client]
        assert values["goodspeed_bytes_per_committed_token"][client] == num_bytes / 50
    rounds = sum(values["goodspeed_rounds_total"].values())
    assert values["goodspeed_queue_seconds_count"][""] == rounds
    assert values["goodspeed_kv_used_tokens"][""] == 0
    prefix_cache = {
        name: values[f"goodspeed_prefix_cache_{name}"][""]
        for name in ("tokens", "lookups_total", "queried_tokens_total", "hit_tokens_total", "evictions_total")
    }
    assert list(prefix_cache.values()) == [2 * 52, 2, 2 * 3, 0, 0]


def test_rounds_and_draft_tokens_are_counted_by_mode(caplog: pytest.LogCaptureFixture) -> None:
    """The scheduler grants nothing in every other round or so, and the verifier drafts by itself."""
    caplog.set_level(logging.INFO)
    config = VerifierCoreConfig(scheduler="random", budget=6, time_price=0.0)

    async def run() -> Values:
        drafts = interpreted_drafts(lambda: DraftKnowledge([LookupSource()], Calibration()), 8)
        async with live_verifier(ToyTarget(), config, co_located=drafts) as live, scraped(live) as scrape_now:
            connection = await connect_drafter(live.connect, "a")
            requests = [open_request(stream, max_tokens=100) for stream in (1, 2)]
            requests.append(replace(open_request(3, max_tokens=30), mode=Mode.TARGET_ONLY))
            await LiveDrafter(connection, 0.7).generate(requests)
            return await scrape_now()

    values = asyncio.run(run())
    by_mode = {mode: values["goodspeed_rounds_by_mode_total"][f"a {mode}"] for mode in LABELS}
    assert values["goodspeed_rounds_total"]["a"] == sum(by_mode.values()) + 3, "the three prompts have none"
    assert by_mode["remote"] > 0
    assert by_mode["co_located"] > 0
    assert by_mode["target_only"] >= 29
    num_verified, num_accepted = (
        values[f"goodspeed_co_located_{name}_total"]["a"] for name in ("tokens", "accepted_tokens")
    )
    assert num_verified >= num_accepted
    assert num_verified >= by_mode["co_located"]
    proposed, verified, accepted = (
        values[f"goodspeed_{name}_tokens_total"]["a"] for name in ("proposed", "verified", "accepted")
    )
    assert proposed >= verified >= accepted > 0
    assert values["goodspeed_co_located_drafting_seconds_count"][""] >= by_mode["co_located"] / 2
    finished = [vars(record)["ids"] for record in caplog.records if record.getMessage() == "stream finished"]
    assert len(finished) == 3
    assert {mode: sum(ids[f"{mode}_rounds"] for ids in finished) for mode in LABELS} == by_mode

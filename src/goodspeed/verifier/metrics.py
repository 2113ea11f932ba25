"""The verifier's Prometheus metrics: histograms of its steps, and the state of the core at each scrape."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from goodspeed.engine.co_located import FailSafeCoLocatedDrafts
from goodspeed.engine.interface import TargetInfo
from goodspeed.errors import ConfigError, ErrorCode
from goodspeed.process_metrics import watch_process
from goodspeed.protocol.messages import PROTOCOL_VERSION, Error, Message, Refused, RoundMode, Verdict
from goodspeed.protocol.transport import LinkTraffic
from goodspeed.verifier.core.batch import Batch, BatchClose, StepResult
from goodspeed.verifier.core.client import Client
from goodspeed.verifier.core.core import CoreStats
from goodspeed.verifier.core.outbox import Reply
from goodspeed.verifier.core.prefix_cache import PrefixCacheStats

SECONDS = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
COLLECT_TIMEOUT_S = 5.0
NO_TRAFFIC = LinkTraffic()
ROUNDS_BY_MODE = "goodspeed_rounds_by_mode"
PREFIX_CACHE_TOKENS = "goodspeed_prefix_cache_tokens"

PREFIX_COUNTERS: Sequence[tuple[str, str, Callable[[PrefixCacheStats], int]]] = (
    ("prefix_cache_lookups", "streams opened while the prefix cache was on", lambda stats: stats.num_lookups),
    ("prefix_cache_queried_tokens", "tokens of the prefixes of these streams", lambda stats: stats.num_queried),
    ("prefix_cache_hit_tokens", "of these, tokens that were not read again", lambda stats: stats.num_hits),
    ("prefix_cache_evictions", "kept sequences dropped for lack of memory", lambda stats: stats.num_evictions),
)

CLIENT_COUNTERS: Sequence[tuple[str, str, Callable[[Client, LinkTraffic], float]]] = (
    ("rounds", "verdicts sent, those of prompts included", lambda client, _: client.num_rounds),
    ("proposed_tokens", "draft tokens that the drafter has proposed", lambda client, _: client.num_proposed),
    ("verified_tokens", "proposed tokens that steps have verified", lambda client, _: client.num_verified),
    ("accepted_tokens", "proposed tokens that steps have verified and accepted", lambda client, _: client.num_accepted),
    (
        "co_located_tokens",
        "draft tokens of the verifier's own that steps have verified",
        lambda client, _: client.num_co_located,
    ),
    (
        "co_located_accepted_tokens",
        "draft tokens of the verifier's own that steps have verified and accepted",
        lambda client, _: client.num_co_located_accepted,
    ),
    (
        "shadow_drafts",
        "drafts that were only compared with what was committed without them",
        lambda client, _: client.num_shadow_drafts,
    ),
    (
        "shadow_accepted_tokens",
        "tokens of shadow drafts that were right",
        lambda client, _: client.num_shadow_accepted,
    ),
    (
        "mode_changes",
        "times that the drafter asked for another mode of an open stream",
        lambda client, _: client.num_mode_changes,
    ),
    ("committed_tokens", "tokens committed to answers", lambda client, _: client.num_committed),
    (
        "baseline_seconds",
        "time that the target-only baseline would have taken for finished answers, estimated from step times",
        lambda client, _: client.baseline_s,
    ),
    (
        "answer_seconds",
        "time that these answers took, from opening to last verdict",
        lambda client, _: client.elapsed_s,
    ),
    ("received_bytes", "bytes from the drafter, frame headers included", lambda _, traffic: traffic.received_bytes),
    ("sent_bytes", "bytes to the drafter, frame headers included", lambda _, traffic: traffic.sent_bytes),
)
CLIENT_GAUGES: Sequence[tuple[str, str, Callable[[Client, LinkTraffic], float]]] = (
    (
        "acceptance_rate",
        "acceptance rate as the scheduler estimates it",
        lambda client, _: client.estimator.acceptance_rate,
    ),
    (
        "grant",
        "draft tokens per round, over all streams of the client",
        lambda client, _: client.grant,
    ),
    (
        "bytes_per_committed_token",
        "bytes in both directions per committed token",
        lambda client, traffic: (traffic.received_bytes + traffic.sent_bytes) / max(1, client.num_committed),
    ),
)


class VerifierMetrics:
    """Histograms of the engine's steps, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        watch_process(self.registry, PROTOCOL_VERSION)
        self._session_errors = self._errors("session_errors", "sessions that were refused, or ended by an error")
        self._stream_errors = self._errors("stream_errors", "streams that were refused, or ended by an error")
        self._batch_streams = self._histogram("batch_streams", "streams in a verification batch", COUNTS)
        self._batch_tokens = self._histogram("batch_tokens", "new tokens in a verification batch", COUNTS)
        self._batches = Counter(
            "goodspeed_batches", "verification batches, by why they closed", ["closed_by"], registry=self.registry
        )
        for reason in BatchClose:
            self._batches.labels(reason.value)
        self._verify = self._histogram("verify_seconds", "duration of a step of the engine", SECONDS)
        self._drafting = self._histogram(
            "co_located_drafting_seconds", "time that the verifier drafted before a step, where it did", SECONDS
        )
        self._queue = self._histogram("queue_seconds", "time that a stream waited for its step", SECONDS)

    def watch_model(self, info: TargetInfo) -> None:
        """Add the model that is served."""
        labels = {"model": info.model, "fingerprint": info.model_fingerprint}
        Gauge("goodspeed_model_info", "1 for the model served", [*labels], registry=self.registry).labels(**labels).set(
            1
        )

    def on_sent(self, message: Message) -> None:
        """Count a message to a drafter if it is an error."""
        if isinstance(message, Refused) or (isinstance(message, Error) and message.stream is None):
            self.on_session_error(message.code)
        elif isinstance(message, Error):
            self._stream_errors.labels(message.code.name).inc()

    def on_session_error(self, code: ErrorCode) -> None:
        """A session was refused, perhaps before its first message, or was ended."""
        self._session_errors.labels(code.name).inc()

    def watch_co_located(self, drafts: FailSafeCoLocatedDrafts) -> None:
        """Add the state of the verifier's own drafting."""
        self.registry.register(_CoLocated(drafts))

    def on_step(self, batch: Batch, result: StepResult, step_s: float, replies: Iterable[Reply]) -> None:
        """The engine has run a batch, in `step_s` seconds with the verifier's own drafting."""
        if not result.work:
            return
        self._batches.labels(batch.closed_by.value).inc()
        self._batch_streams.observe(len(result.work))
        self._batch_tokens.observe(result.num_tokens)
        self._verify.observe(step_s - result.drafting_s)
        if any(turn.co_located for turn in batch.turns):
            self._drafting.observe(result.drafting_s)
        for _, message in replies:
            if isinstance(message, Verdict):
                self._queue.observe(message.queue_us / 1e6)

    def _errors(self, name: str, help_text: str) -> Counter:
        return Counter(f"goodspeed_{name}", help_text, labelnames=["code"], registry=self.registry)

    def _histogram(self, name: str, help_text: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(f"goodspeed_{name}", help_text, buckets=buckets, registry=self.registry)


class _CoLocated(Collector):
    """The state of the verifier's own drafting."""

    def __init__(self, drafts: FailSafeCoLocatedDrafts) -> None:
        self._drafts = drafts

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "goodspeed_co_located_up",
            "1 while the verifier's own drafting works, 0 once it has failed",
            self._drafts.is_up,
        )
        yield CounterMetricFamily(
            "goodspeed_co_located_without_memory",
            "times that there was no memory for a stream of the verifier's draft model",
            self._drafts.num_without_memory,
        )


class MetricsServer:
    """Serves a registry over HTTP from a thread of its own."""

    def __init__(self, registry: CollectorRegistry, host: str, port: int) -> None:
        """Raises ConfigError if the server cannot listen on the port."""
        try:
            self._server: WSGIServer
            self._server, self._thread = start_http_server(port, host, registry)
        except OSError as error:
            raise ConfigError(f"cannot serve metrics on {host}:{port}: {error}") from error

    @property
    def port(self) -> int:
        return int(self._server.server_port)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class LoopCollector(Collector):
    """Collects metrics by a function that must run in the event loop; may be called from any thread."""

    def __init__(self, collect_metrics: Callable[[], list[Metric]], loop: asyncio.AbstractEventLoop) -> None:
        self._collect_metrics = collect_metrics
        self._loop = loop

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        return asyncio.run_coroutine_threadsafe(self._collect_in_loop(), self._loop).result(COLLECT_TIMEOUT_S)

    async def _collect_in_loop(self) -> list[Metric]:
        return self._collect_metrics()


def core_metrics(stats: CoreStats, traffic: Mapping[str, LinkTraffic]) -> list[Metric]:
    """The state of the core as metrics; `traffic` is by client."""
    load, memory = stats.load, stats.memory
    metrics: list[Metric] = [
        GaugeMetricFamily("goodspeed_open_streams", "streams that hold KV memory", load.open_streams),
        GaugeMetricFamily("goodspeed_queued_streams", "streams that wait for KV memory", load.queued_streams),
        GaugeMetricFamily("goodspeed_preempted_streams", "of these, streams that were preempted", memory.num_preempted),
        CounterMetricFamily("goodspeed_preemptions", "streams that lost their KV memory", memory.num_preemptions),
        GaugeMetricFamily("goodspeed_kv_used_tokens", "KV tokens in blocks of open streams", load.kv_used),
        GaugeMetricFamily("goodspeed_kv_retained_tokens", "KV tokens of ended streams alone", memory.num_retained),
        GaugeMetricFamily("goodspeed_kv_capacity_tokens", "KV tokens in all", load.kv_capacity),
    ]
    for name, help_text, value in CLIENT_COUNTERS:
        counter = CounterMetricFamily(f"goodspeed_{name}", help_text, labels=["client"])
        for client in stats.clients:
            counter.add_metric([client.name], value(client, traffic.get(client.name, NO_TRAFFIC)))
        metrics.append(counter)
    for name, help_text, value in CLIENT_GAUGES:
        gauge = GaugeMetricFamily(f"goodspeed_{name}", help_text, labels=["client"])
        for client in stats.clients:
            gauge.add_metric([client.name], value(client, traffic.get(client.name, NO_TRAFFIC)))
        metrics.append(gauge)
    return [*metrics, _rounds_by_mode(stats.clients), *_prefix_cache(stats.prefix_cache)]


def _prefix_cache(stats: PrefixCacheStats) -> list[Metric]:
    counters = [CounterMetricFamily(f"goodspeed_{name}", text, value(stats)) for name, text, value in PREFIX_COUNTERS]
    return [
        GaugeMetricFamily(PREFIX_CACHE_TOKENS, "KV tokens of ended streams that are kept", stats.num_tokens),
        *counters,
    ]


def _rounds_by_mode(clients: Iterable[Client]) -> Metric:
    family = CounterMetricFamily(
        ROUNDS_BY_MODE, "verdicts sent by the drafts that the round had", labels=["client", "mode"]
    )
    for client in clients:
        for mode in RoundMode:
            family.add_metric([client.name, mode.label], client.rounds_by_mode[mode])
    return family

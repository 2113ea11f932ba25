"""The Prometheus metrics of a drafter."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import prometheus_client
from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from goodspeed.drafter.answer_metrics import AnswerMetrics
from goodspeed.drafter.core.link import VerifierLink
from goodspeed.drafter.core.outbox import TokensCommitted
from goodspeed.drafter.core.run_ahead import RunAheadCounts
from goodspeed.drafter.http_metrics import HttpMetrics
from goodspeed.process_metrics import watch_process
from goodspeed.protocol.messages import PROTOCOL_VERSION, ChangeMode, FromDrafter, RoundMode, ShadowDraft, Welcome
from goodspeed.protocol.transport import LinkTraffic

SECONDS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


class DrafterMetrics:
    """Counters and times of all streams, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)  # so that a scrape may name the metrics that it wants
        self.http = HttpMetrics(self.registry)
        self.answers = AnswerMetrics(self.registry)
        watch_process(self.registry, PROTOCOL_VERSION)
        self.num_committed = 0
        self._num_proposed = 0
        self._num_accepted = 0
        self._rounds = self._counter("rounds", "verdicts received, those of prompts included")
        self._rounds_by_mode = self._by_mode("rounds_by_mode", "verdicts received by the drafts that the round had")
        self._proposed = self._counter("proposed_tokens", "draft tokens proposed, verified or not")
        self._accepted = self._counter("accepted_tokens", "proposed tokens that were committed")
        self._co_located = self._counter("co_located_tokens", "draft tokens of verifiers' own that were verified")
        self._co_located_accepted = self._counter(
            "co_located_accepted_tokens", "draft tokens of verifiers' own that were committed"
        )
        self._shadow_drafts = self._counter("shadow_drafts", "drafts sent that no verifier verifies")
        self._shadow_tokens = self._counter("shadow_tokens", "draft tokens of shadow drafts")
        self._mode_changes = self._counter("mode_changes", "times that the window policy changed the mode of a stream")
        self._committed = self._counter("committed_tokens", "tokens committed to answers")
        self._committed_by_mode = self._by_mode(
            "committed_tokens_by_mode", "tokens committed to answers by the drafts that the round had"
        )
        self._baseline = self._counter(
            "baseline_seconds", "verifiers' estimate of the time of finished answers in target-only mode"
        )
        self._elapsed = self._counter(
            "answer_seconds", "time of the same answers at the verifiers, from opening to last verdict"
        )
        self._acceptance_rate = self._gauge("acceptance_rate", "accepted / proposed draft tokens since the start")
        self._grant = self._gauge("grant", "draft tokens granted by the latest verdict")
        self._drafting = self._histogram("drafting_seconds", "drafting of one proposal, from the verdict on")
        self._rtt = self._histogram("rtt_seconds", "time from proposal to verdict without queueing and verification")
        self._by_verifier: Counter[int] = Counter()  # committed tokens

    def watch(self, traffic: Callable[[], LinkTraffic], num_streams: Callable[[], int]) -> None:
        """Add metrics that are read when the registry is scraped."""
        self._gauge("open_streams", "unfinished streams").set_function(num_streams)
        self.registry.register(_Bytes(traffic, lambda: self.num_committed))

    def watch_model(self, welcome: Callable[[], Welcome | None]) -> None:
        """Add the model that the verifiers serve, once one is known."""
        self.registry.register(_Model(welcome))

    def watch_draft(self, draft: Callable[[], tuple[str, int]]) -> None:
        """Add the draft engine: `draft` returns its name and how often it was replaced."""
        self.registry.register(_Draft(draft))

    def watch_links(self, addresses: Sequence[str], links: Iterable[VerifierLink]) -> None:
        """Add the verifiers, labelled by their addresses."""
        self.registry.register(_Links(addresses, links, self._by_verifier))

    def watch_run_ahead(self, counts: RunAheadCounts) -> None:
        """Add what was drafted past proposals."""
        self.registry.register(_RunAhead(counts))

    def on_sent(self, message: FromDrafter) -> None:
        """Count a message to a verifier."""
        if isinstance(message, ShadowDraft):
            self._shadow_drafts.inc()
            self._shadow_tokens.inc(len(message.tokens))
        elif isinstance(message, ChangeMode):
            self._mode_changes.inc()

    def observe(self, committed: TokensCommitted) -> None:
        """Count one more round of some stream."""
        measured = committed.round
        self.num_committed += len(committed.tokens)
        self._by_verifier[committed.verifier] += len(committed.tokens)
        self._num_proposed += measured.num_proposed
        self._num_accepted += measured.num_accepted
        self._rounds.inc()
        self._committed.inc(len(committed.tokens))
        self._co_located.inc(measured.num_co_located)
        self._co_located_accepted.inc(measured.num_co_located_accepted)
        if measured.mode is not None:
            mode = measured.mode.label
            self._rounds_by_mode.labels(mode).inc()
            self._committed_by_mode.labels(mode).inc(len(committed.tokens))
        self._grant.set(measured.grant)
        if measured.baseline_s is not None and measured.elapsed_s is not None:
            self._baseline.inc(measured.baseline_s)
            self._elapsed.inc(measured.elapsed_s)
        if measured.num_proposed:
            self._proposed.inc(measured.num_proposed)
            self._accepted.inc(measured.num_accepted)
            self._acceptance_rate.set(self._num_accepted / self._num_proposed)
            self._drafting.observe(measured.drafting_s)
        if measured.rtt_s is not None:
            self._rtt.observe(measured.rtt_s)

    def _counter(self, name: str, help_text: str) -> prometheus_client.Counter:
        return prometheus_client.Counter(f"goodspeed_drafter_{name}", help_text, registry=self.registry)

    def _by_mode(self, name: str, help_text: str) -> prometheus_client.Counter:
        """A counter with a value for each mode from the start."""
        counter = prometheus_client.Counter(
            f"goodspeed_drafter_{name}", help_text, labelnames=["mode"], registry=self.registry
        )
        for mode in RoundMode:
            counter.labels(mode.label)
        return counter

    def _gauge(self, name: str, help_text: str) -> Gauge:
        return Gauge(f"goodspeed_drafter_{name}", help_text, registry=self.registry)

    def _histogram(self, name: str, help_text: str) -> Histogram:
        return Histogram(f"goodspeed_drafter_{name}", help_text, buckets=SECONDS, registry=self.registry)


class _Model(Collector):
    """The model that the verifiers serve."""

    def __init__(self, welcome: Callable[[], Welcome | None]) -> None:
        self._welcome = welcome

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily("goodspeed_drafter_model_info", "1 for the model served", labels=["model"])
        if welcome := self._welcome():
            family.add_metric([welcome.model], 1)
        yield family


class _Draft(Collector):
    """The draft engine's name, and how often it was replaced."""

    def __init__(self, draft: Callable[[], tuple[str, int]]) -> None:
        self._draft = draft

    def collect(self) -> Iterator[Metric]:
        name, num_swaps = self._draft()
        current = GaugeMetricFamily("goodspeed_drafter_draft", "1 for the draft engine in use", labels=["draft"])
        current.add_metric([name], 1)
        yield current
        yield CounterMetricFamily("goodspeed_drafter_draft_swaps", "replacements of the draft engine", num_swaps)


class _RunAhead(Collector):
    """What was drafted past proposals so far, and how much of it was of use."""

    def __init__(self, counts: RunAheadCounts) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        counts = self._counts
        verdicts = CounterMetricFamily(
            "goodspeed_drafter_run_ahead_verdicts",
            "verdicts on proposals past which was drafted; hit: they committed the drafted tokens",
            labels=["result"],
        )
        verdicts.add_metric(["hit"], counts.num_hits)
        verdicts.add_metric(["miss"], counts.num_misses)
        yield verdicts
        yield CounterMetricFamily(
            "goodspeed_drafter_run_ahead_drafted_tokens", "tokens drafted past proposals", counts.num_drafted
        )
        yield CounterMetricFamily(
            "goodspeed_drafter_run_ahead_used_tokens",
            "of these, the tokens that were committed or proposed; the others were wasted",
            counts.num_used,
        )


class _Bytes(Collector):
    """Traffic of all links so far."""

    def __init__(self, traffic: Callable[[], LinkTraffic], num_committed: Callable[[], int]) -> None:
        self._traffic = traffic
        self._num_committed = num_committed

    def collect(self) -> Iterator[Metric]:
        traffic = self._traffic()
        total = traffic.sent_bytes + traffic.received_bytes
        yield CounterMetricFamily(
            "goodspeed_drafter_sent_bytes", "bytes to the verifiers, frame headers included", traffic.sent_bytes
        )
        yield CounterMetricFamily(
            "goodspeed_drafter_received_bytes",
            "bytes from the verifiers, frame headers included",
            traffic.received_bytes,
        )
        yield GaugeMetricFamily(
            "goodspeed_drafter_bytes_per_committed_token",
            "bytes in both directions / committed tokens",
            total / max(1, self._num_committed()),
        )


class _Links(Collector):
    """The core's view of each verifier, labelled by its address."""

    def __init__(self, addresses: Sequence[str], links: Iterable[VerifierLink], committed: Mapping[int, int]) -> None:
        self._addresses = addresses
        self._links = links
        self._committed = committed

    def collect(self) -> Iterator[Metric]:
        yield self._gauge("up", "1 if there is a link to the verifier", lambda link: link.is_up)
        yield self._gauge("streams", "this drafter's streams at the verifier", lambda link: link.num_streams)
        yield self._gauge(
            "depth",
            "streams at the verifier: those of others as last reported, and this drafter's own",
            lambda link: link.depth,
        )
        yield self._gauge("rtt_seconds", "smoothed round-trip time", lambda link: link.rtt_s.get())
        yield self._gauge("rtt_jitter_seconds", "mean deviation of the round trips", lambda link: link.jitter_s.get())
        committed = CounterMetricFamily(
            "goodspeed_drafter_verifier_committed_tokens", "tokens committed by the verifier", labels=["verifier"]
        )
        for address, link in zip(self._addresses, self._links, strict=True):
            committed.add_metric([address], self._committed.get(link.index, 0))
        yield committed

    def _gauge(self, name: str, help_text: str, value: Callable[[VerifierLink], float]) -> Metric:
        family = GaugeMetricFamily(f"goodspeed_drafter_verifier_{name}", help_text, labels=["verifier"])
        for address, link in zip(self._addresses, self._links, strict=True):
            family.add_metric([address], value(link))
        return family

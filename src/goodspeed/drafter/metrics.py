"""What a drafter shows to Prometheus."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import prometheus_client
from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from goodspeed.drafter.core.decisions import TokensCommitted
from goodspeed.drafter.core.link import VerifierLink
from goodspeed.protocol.transport import LinkTraffic

SECONDS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


class DrafterMetrics:
    """Counts and times of all streams, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.num_committed = 0
        self._num_proposed = 0
        self._num_accepted = 0
        self._rounds = self._counter("rounds", "verdicts")
        self._alone = self._counter("alone_rounds", "verdicts without a proposal: the verifier went on alone")
        self._proposed = self._counter("proposed_tokens", "draft tokens proposed")
        self._accepted = self._counter("accepted_tokens", "draft tokens that the target accepted")
        self._committed = self._counter("committed_tokens", "tokens that are part of an answer")
        self._target_alone = self._counter(
            "target_alone_seconds", "what the target alone would have taken for answers, as verifiers reckon"
        )
        self._took = self._counter(
            "answer_seconds", "what the same answers took at the verifiers, from opening to last verdict"
        )
        self._acceptance_rate = self._gauge("acceptance_rate", "accepted / proposed, since the start")
        self._grant = self._gauge("grant", "draft tokens granted by the last verdict")
        self._drafting = self._histogram("drafting_seconds", "drafting one proposal")
        self._rtt = self._histogram("rtt_seconds", "from proposal to verdict, less queue and verification")
        self._by_verifier: Counter[int] = Counter()  # committed tokens

    def watch(self, traffic: Callable[[], LinkTraffic], num_streams: Callable[[], int]) -> None:
        """Show also what is read only when somebody looks."""
        self._gauge("open_streams", "answers in the making").set_function(num_streams)
        self.registry.register(_Bytes(traffic, lambda: self.num_committed))

    def watch_draft(self, draft: Callable[[], tuple[str, int]]) -> None:
        """Show which draft engine drafts, and how often it was exchanged."""
        self.registry.register(_Draft(draft))

    def watch_links(self, addresses: Sequence[str], links: Iterable[VerifierLink]) -> None:
        """Show the verifiers, too."""
        self.registry.register(_Links(addresses, links, self._by_verifier))

    def observe(self, committed: TokensCommitted) -> None:
        """One more round of some stream."""
        measured = committed.round
        self.num_committed += len(committed.tokens)
        self._by_verifier[committed.verifier] += len(committed.tokens)
        self._num_proposed += measured.num_proposed
        self._num_accepted += measured.num_accepted
        self._rounds.inc()
        self._alone.inc(measured.is_alone)
        self._committed.inc(len(committed.tokens))
        self._grant.set(measured.grant)
        if measured.took_s:
            self._target_alone.inc(measured.target_alone_s)
            self._took.inc(measured.took_s)
        if measured.num_proposed:
            self._proposed.inc(measured.num_proposed)
            self._accepted.inc(measured.num_accepted)
            self._acceptance_rate.set(self._num_accepted / self._num_proposed)
            self._drafting.observe(measured.drafting_s)
        if measured.rtt_s is not None:
            self._rtt.observe(measured.rtt_s)

    def _counter(self, name: str, help_text: str) -> prometheus_client.Counter:
        return prometheus_client.Counter(f"goodspeed_drafter_{name}", help_text, registry=self.registry)

    def _gauge(self, name: str, help_text: str) -> Gauge:
        return Gauge(f"goodspeed_drafter_{name}", help_text, registry=self.registry)

    def _histogram(self, name: str, help_text: str) -> Histogram:
        return Histogram(f"goodspeed_drafter_{name}", help_text, buckets=SECONDS, registry=self.registry)


class _Draft(Collector):
    """The draft engine's name, and exchanges so far."""

    def __init__(self, draft: Callable[[], tuple[str, int]]) -> None:
        self._draft = draft

    def collect(self) -> Iterator[Metric]:
        name, num_swaps = self._draft()
        current = GaugeMetricFamily("goodspeed_drafter_draft", "1 for the draft engine in use", labels=["draft"])
        current.add_metric([name], 1)
        yield current
        yield CounterMetricFamily("goodspeed_drafter_draft_swaps", "exchanges of the draft engine", num_swaps)


class _Bytes(Collector):
    """LinkTraffic of all links so far."""

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
    """Each verifier as the core sees it, labelled by its address."""

    def __init__(self, addresses: Sequence[str], links: Iterable[VerifierLink], committed: Mapping[int, int]) -> None:
        self._addresses = addresses
        self._links = links
        self._committed = committed

    def collect(self) -> Iterator[Metric]:
        yield self._gauge("up", "there is a link", lambda link: link.is_up)
        yield self._gauge("streams", "this drafter's streams there", lambda link: link.num_streams)
        yield self._gauge("depth", "streams there, as reported, and ours since", lambda link: link.depth)
        yield self._gauge("rtt_seconds", "smoothed round trip", lambda link: link.rtt_s.get())
        committed = CounterMetricFamily(
            "goodspeed_drafter_verifier_committed_tokens", "tokens by who committed them", labels=["verifier"]
        )
        for address, link in zip(self._addresses, self._links, strict=True):
            committed.add_metric([address], self._committed.get(link.index, 0))
        yield committed

    def _gauge(self, name: str, help_text: str, value: Callable[[VerifierLink], float]) -> Metric:
        family = GaugeMetricFamily(f"goodspeed_drafter_verifier_{name}", help_text, labels=["verifier"])
        for address, link in zip(self._addresses, self._links, strict=True):
            family.add_metric([address], value(link))
        return family

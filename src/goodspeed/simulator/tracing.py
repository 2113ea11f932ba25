"""Spans of single requests: where their time goes."""

from collections.abc import Sequence

from goodspeed.decoding.draft import StreamKey
from goodspeed.protocol.messages import FromDrafter, FromVerifier, Open, Propose, Verdict
from goodspeed.simulator.kernel import NS_PER_S, Kernel
from goodspeed.simulator.result import Span


class RequestTracer:
    """Records the spans of the first `num_requests` requests of a run."""

    def __init__(self, kernel: Kernel, num_requests: int) -> None:
        self.is_on = num_requests > 0
        self.spans: list[Span] = []
        self._kernel = kernel
        self._num_left = num_requests
        self._requests: dict[tuple[str, StreamKey], int] = {}
        self._num_proposed: dict[tuple[str, StreamKey], int] = {}  # in the round under way

    def follow(self, client: str, stream: StreamKey, request: int) -> None:
        """A client has opened a stream for its request."""
        if self._num_left > 0:
            self._num_left -= 1
            self._requests[client, stream] = request

    def on_drafted(self, client: str, streams: Sequence[StreamKey], drafting_s: float, is_ahead: bool) -> None:
        """The drafter's device has just finished to draft for these streams."""
        for stream in streams:
            self._add(client, stream, ("drafter", "run-ahead" if is_ahead else "draft"), -drafting_s, 0.0)

    def on_sent_up(self, client: str, messages: Sequence[FromDrafter], arrives_ns: int) -> None:
        for message in messages:
            if isinstance(message, Open | Propose):
                self._add(client, message.stream, ("uplink", type(message).__name__), 0.0, self._until(arrives_ns))
            if isinstance(message, Propose) and (client, message.stream) in self._requests:
                self._num_proposed[client, message.stream] = len(message.tokens)

    def on_sent_down(self, client: str, messages: Sequence[FromVerifier], arrives_ns: int) -> None:
        """A verdict reports the verifier's queueing and verification times before it was sent."""
        for message in messages:
            if isinstance(message, Verdict):
                verify_s, queue_s = message.verify_us / 1e6, message.queue_us / 1e6
                num_proposed = self._num_proposed.pop((client, message.stream), 0)
                mode = message.mode(num_proposed).label if message.round else "prompt"
                what = f"round {message.round}, {mode}: {message.num_committed - 1} accepted"
                self._add(client, message.stream, ("verifier queue", what), -verify_s - queue_s, -verify_s)
                self._add(client, message.stream, ("verifier", what), -verify_s, 0.0)
                self._add(client, message.stream, ("downlink", what), 0.0, self._until(arrives_ns))

    def _add(
        self, client: str, stream: StreamKey, actor_and_what: tuple[str, str], start_s: float, end_s: float
    ) -> None:
        """`start_s` and `end_s` are relative to now."""
        if (request := self._requests.get((client, stream))) is not None and end_s > start_s:
            now_s = self._kernel.now_s
            self.spans.append(Span(client, request, *actor_and_what, now_s + start_s, now_s + end_s))

    def _until(self, time_ns: int) -> float:
        return time_ns / NS_PER_S - self._kernel.now_s

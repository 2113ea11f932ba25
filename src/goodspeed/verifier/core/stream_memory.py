"""The KV memory of streams: which of them fits, what it holds, and which yields when others must grow.

Memory grows with the text. A stream is admitted if all open ones are expected to fit until they end. If blocks run out
nevertheless, the least valuable stream is preempted: it waits, and is continued without a changed token. Then its whole
answer is reserved, so no stream is preempted twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from goodspeed.decoding.draft import StreamKey
from goodspeed.engine.interface import CachedPrefix, TargetInfo
from goodspeed.protocol.messages import Open
from goodspeed.verifier.core.admission import QueuedStream
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.core.kv_ledger import KvLedger
from goodspeed.verifier.core.memory_forecast import AnswerLengths, Growth, LengthForecast, peak_tokens
from goodspeed.verifier.core.outbox import VerifierOutbox
from goodspeed.verifier.core.prefix_cache import PrefixCache
from goodspeed.verifier.core.served_streams import ServedStream, ServedStreams


@dataclass(frozen=True, slots=True)
class MemoryStats:
    """Who holds KV memory, in tokens of whole blocks, and who waits for it."""

    num_used: int = 0
    """Of open streams; what they share counts once."""
    num_retained: int = 0
    """Of ended streams alone, for the prefixes of later ones."""
    num_preempted: int = 0
    """Streams that wait to be continued."""
    num_preemptions: int = 0
    """Since the start."""


class StreamMemory:
    """Reserves, grows and frees the memory of streams, first in the ledger and later in the engine."""

    def __init__(
        self, config: VerifierCoreConfig, info: TargetInfo, streams: ServedStreams, outbox: VerifierOutbox
    ) -> None:
        self.ledger = KvLedger(info)
        self.prefix_cache = PrefixCache(config.prefix_cache_tokens, config.prefix_sharing == "all", self.ledger, outbox)
        self._watermark = config.growth_watermark
        self._streams = streams
        self._lengths = AnswerLengths()
        self._num_preemptions = 0

    def stats(self) -> MemoryStats:
        ledger = self.ledger
        return MemoryStats(ledger.num_used, ledger.num_retained, len(self._streams.preempted), self._num_preemptions)

    def can_admit(self, queued: QueuedStream) -> bool:
        """True if there is memory for the new stream, and presumably for all streams until they end."""
        tokens = queued.protocol.committed
        if not self._may_grow(queued.protocol.request):
            return self._fits(queued.client.name, tokens, queued.capacity)
        return self._fits(queued.client.name, tokens, len(tokens)) and self._is_likely_to_fit(queued)

    def can_continue(self, stream: ServedStream) -> bool:
        """True if there is memory for all that the preempted stream may still need."""
        return self._fits(stream.client.name, stream.protocol.committed, stream.capacity)

    def open(self, stream: ServedStream) -> int:
        """Open an admitted stream in the engine, and give it memory. Returns how many tokens it need not read."""
        cache, ledger, block = self.prefix_cache, self.ledger, self.ledger.block
        client, tokens = stream.client.name, stream.protocol.committed
        # Tokens that are not read again have no log-probabilities.
        prefix = None if stream.request.prompt_logprobs else cache.find(client, tokens)
        num_copied = prefix.num_tokens % block if prefix else 0
        if prefix and num_copied and not cache.make_room(block, kept=prefix.source):  # no block for the copy
            num_shared = prefix.num_tokens - num_copied
            prefix = CachedPrefix(prefix.source, num_shared) if num_shared else None
        cache.on_opened(len(tokens), prefix)
        ledger.open(stream.key, prefix)
        self._streams.open_in_engine(stream, prefix)  # before what it begins with may be dropped
        stream.is_reserved = stream.is_reserved or not self._may_grow(stream.request)
        self._grow(stream.key, stream.capacity if stream.is_reserved else len(tokens))
        return prefix.num_tokens if prefix else 0

    def grow_or_preempt(self, selected: Sequence[ServedStream]) -> list[ServedStream]:
        """Give the streams of the next step the memory that it may write. Returns those that have got it."""
        ledger, preempted = self.ledger, list[ServedStream]()
        missing = {
            stream: ledger.num_missing(stream.key, stream.num_written)
            for stream in selected
            if not ledger.holds(stream.key, stream.num_written)
        }
        while not self.prefix_cache.make_room(sum(missing.values())):
            preempted.append(self._least_valuable())
            self._preempt(preempted[-1])
            missing.pop(preempted[-1], None)
        for stream in missing:
            ledger.grow(stream.key, stream.num_written)
        return [stream for stream in selected if stream not in preempted] if preempted else list(selected)

    def on_prefilled(self, stream: ServedStream) -> None:
        """The engine has run the stream's whole prefix: others may begin with it."""
        self.prefix_cache.add_open(stream.key, stream.client.name, stream.request.tokens)

    def end(self, stream: ServedStream, is_kept: bool = True) -> None:
        """Free the memory of a stream that ends, except what the prefix cache keeps: the tokens that were run."""
        if self._streams.is_preempted(stream):
            self._streams.close(stream, 0)
            return
        if stream.protocol.is_finished:
            self._lengths.observe(_num_answered(stream), is_cut=_num_answered(stream) >= stream.request.max_tokens)
        self._streams.close(stream, self._release(stream, is_kept))

    def _preempt(self, stream: ServedStream) -> None:
        self._num_preemptions += 1
        self._streams.preempt(stream, self._release(stream, is_kept=True))

    def _release(self, stream: ServedStream, is_kept: bool) -> int:
        """Returns the number of tokens that are retained."""
        self.prefix_cache.remove_open(stream.key)
        num_retained = 0
        if is_kept and stream.is_prefilled:
            num_retained = self.prefix_cache.retain(stream.key, stream.client.name, stream.protocol.committed[:-1])
            self.prefix_cache.name(stream.key, stream.client.name, stream.request.stream)
        if not num_retained:
            self.ledger.close(stream.key)
        return num_retained

    def _least_valuable(self) -> ServedStream:
        """The stream to preempt.

        There is one while memory is missing: what streams hold that are not to be preempted again is reserved.
        """
        streams = self._streams
        candidates = [*streams.drafting.values(), *streams.ready.values(), *streams.prefilling.values()]
        return min(
            [stream for stream in candidates if not stream.is_reserved],
            key=_worth,
        )

    def _may_grow(self, request: Open) -> bool:
        """False if the whole answer is reserved: the log-probabilities of a prompt are reported once."""
        return self._watermark > 0.0 and not request.prompt_logprobs

    def _grow(self, key: StreamKey, num_tokens: int) -> None:
        has_room = self.prefix_cache.make_room(self.ledger.num_missing(key, num_tokens))
        assert has_room
        self.ledger.grow(key, num_tokens)

    def _fits(self, client: str, tokens: Sequence[int], num_tokens: int) -> bool:
        """True if free blocks and those of the prefix cache are enough for a stream that holds `num_tokens`."""
        ledger = self.ledger
        prefix = self.prefix_cache.find(client, tokens)
        return ledger.num_needed(num_tokens, prefix) <= ledger.num_free + ledger.num_retained

    def _is_likely_to_fit(self, queued: QueuedStream) -> bool:
        """True if the open streams and this one fit with whole answers, or else are expected to, with a margin."""
        ledger = self.ledger
        streams = [stream for stream in self._streams if not self._streams.is_preempted(stream)]
        whole = sum([ledger.in_blocks(stream.capacity) for stream in streams]) + ledger.in_blocks(queued.capacity)
        if not streams or whole <= ledger.capacity:
            return True
        num_new = len(queued.protocol.committed)
        forecast = self._lengths.forecast(map(_num_answered, self._streams))
        growths = [self._growth(stream, forecast) for stream in streams]
        num_shared = sum([growth.num_held for growth in growths]) - ledger.num_used
        growths.append(Growth(num_new, forecast.expected_remaining(0, queued.capacity - num_new)))
        return peak_tokens(growths) - num_shared <= (1.0 - self._watermark) * ledger.capacity

    def _growth(self, stream: ServedStream, forecast: LengthForecast) -> Growth:
        num_held = self.ledger.held(stream.key)
        if stream.is_reserved:
            return Growth(num_held, 0.0)
        return Growth(num_held, forecast.expected_remaining(_num_answered(stream), stream.request.max_tokens))


def _num_answered(stream: ServedStream) -> int:
    return len(stream.protocol.committed) - stream.request.num_prompt


def _worth(stream: ServedStream) -> tuple[bool, float, int, int]:
    """By its drafter's presence, what a token is worth to the scheduler, what must be read again, and seniority."""
    return stream.conn is not None, stream.weight / stream.goodput, len(stream.protocol.committed), -stream.key

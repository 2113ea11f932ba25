"""The verifier's core: inputs in, decisions out, without I/O and without a clock."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from goodspeed.decoding.draft import StreamKey
from goodspeed.engine.interface import TargetInfo
from goodspeed.errors import ErrorCode, ProtocolError
from goodspeed.protocol.messages import Load, Message
from goodspeed.scheduling.co_located_length import CoLocatedPrices
from goodspeed.verifier.core.batch import Batch, BatchClose, StepResult, Turn
from goodspeed.verifier.core.batch_builder import make_prefills, make_turn, select_streams
from goodspeed.verifier.core.batching.policies import BATCHINGS, ORDERINGS
from goodspeed.verifier.core.batching_view import make_batching_view
from goodspeed.verifier.core.client import Client, ConnId
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.core.draft_budget import DraftBudget
from goodspeed.verifier.core.grants import GrantAllocator, LocalTimes
from goodspeed.verifier.core.message_handler import MessageHandler
from goodspeed.verifier.core.outbox import Reply, VerifierOutbox
from goodspeed.verifier.core.prefix_cache import PrefixCacheStats
from goodspeed.verifier.core.served_streams import FinishedStream, ServedStream, ServedStreams
from goodspeed.verifier.core.step_pricing import StepPricing
from goodspeed.verifier.core.stream_memory import MemoryStats
from goodspeed.verifier.core.timing.baseline import Baseline
from goodspeed.verifier.core.timing.step_timing import LocalRoundTime, StepTiming
from goodspeed.verifier.core.verified_stream import (
    VerifiedStream,
    failed_streams,
    restored_streams,
    verified_streams,
)

FLOOR_ROUNDS: Final = 32
"""Rounds of a stream between two comparisons with its baseline."""


@dataclass(frozen=True, slots=True)
class CoreStats:
    """The state of the core. The clients are the core's own: read them in the thread that calls the core."""

    load: Load
    clients: tuple[Client, ...]
    prefix_cache: PrefixCacheStats
    memory: MemoryStats


class VerifierCore:
    """Admits streams, closes batches, turns the engine's outcomes into verdicts, and grants draft tokens.

    The host calls on_* for every input and sends the returned replies in order. While the engine is idle, the host
    calls next_batch after every input and at wake_at. It runs the batch (verifier/step.py) and reports with on_verified
    or on_failed.
    `now` is in seconds and never decreases. No input of a peer raises.
    """

    def __init__(self, config: VerifierCoreConfig, info: TargetInfo) -> None:
        self._config = config
        self._outbox = VerifierOutbox()
        self._streams = ServedStreams(self._outbox)
        self._timing = StepTiming()
        self._baseline = Baseline(self._timing.step_time, config.max_batch_streams)
        self._handler = MessageHandler(config, info, self._streams, self._baseline, self._outbox)
        budget = DraftBudget(config.budget)
        self._pricing = StepPricing(config, budget, self._timing, self._streams)
        self._allocator = GrantAllocator(config, budget)
        self._batching = BATCHINGS[config.batching](config.barrier_timeout_s)
        self._ordering = ORDERINGS[config.ordering](config.length_bucket)
        self._is_stepping = False
        self.close_at: float | None = None
        """When the batch closes that next_batch has postponed; None: none is postponed."""

    def on_connect(self, conn: ConnId, now: float, names: frozenset[str] | None = None) -> None:
        """A link was opened, by a peer to which these names belong; None: it may use any."""
        self._handler.on_connect(conn, names, now)

    def on_message(self, conn: ConnId, message: Message, now: float) -> list[Reply]:
        """A link has delivered its next message."""
        self._handler.on_message(conn, message, now)
        return self._settle(now)

    def on_malformed(self, conn: ConnId, error: ProtocolError, now: float) -> list[Reply]:
        """A link's next message cannot be carried out; `error` names a stream, or concerns the session."""
        self._handler.on_malformed(conn, error, now)
        return self._settle(now)

    def on_disconnect(self, conn: ConnId, now: float) -> list[Reply]:
        """A link is lost; its streams are kept for their lease."""
        self._handler.on_disconnect(conn, now)
        return self._settle(now)

    def on_revoked(self, conn: ConnId, now: float) -> list[Reply]:
        """The credential of a link's peer was withdrawn: its session and its streams end."""
        self._handler.on_revoked(conn, now)
        return self._settle(now)

    def on_time(self, now: float) -> list[Reply]:
        """Time has passed: leases expire, handshakes time out, the load is reported."""
        self._handler.on_time(now)
        return self._settle(now)

    def on_shutdown(self, now: float) -> list[Reply]:
        """End all sessions. One more batch closes their streams in the engine."""
        self._handler.on_shutdown(now)
        return self._settle(now)

    def next_batch(self, now: float) -> Batch | None:
        """The next work of the idle engine. None: there is none, or the batch waits for more until close_at."""
        assert not self._is_stepping
        waited_until, self.close_at = self.close_at, None
        closed_by = BatchClose.AT_ONCE
        if self._streams.has_work:
            self.close_at = self._next_close(now)
            if self.close_at > now:
                self._baseline.on_wait()
                return None
            closed_by = self._closed_by(waited_until, now)
        elif not self._outbox.has_stream_updates:
            return None
        self._is_stepping = True
        batch = self._make_batch(closed_by)
        if batch.has_step:
            self._baseline.on_batch(now)
        return batch

    def wake_at(self) -> float | None:
        """When on_time and next_batch are due without another input, after next_batch returned None; None: never."""
        times = [time for time in (self.close_at, self._handler.wake_at()) if time is not None]
        return min(times, default=None)

    def on_verified(self, batch: Batch, result: StepResult, started: float, now: float) -> list[Reply]:
        """The engine ran the batch from `started` to `now`.

        The order of the four steps matters. Timings are read from proposals and grants that later steps overwrite.
        Outcomes extend the streams before grants are limited to what the streams can still use. Verdicts carry grants.
        """
        self._is_stepping = False
        for stream, reason in failed_streams(result, self._streams):
            self._handler.on_engine_failed(stream, reason, ErrorCode.BAD_REQUEST)
        verified = verified_streams(batch, result, self._streams)
        streams = [item.stream for item in verified]
        self._learn_timings(batch, result, verified, now - started, now)
        for item in verified:
            item.commit()
        for stream in restored_streams(result, self._streams):
            self._streams.on_restored(stream, now)
        grants = self._allocate_grants(streams)
        self._conclude_rounds(streams, grants, started, now)
        replies = self._settle(now)
        self._baseline.on_step_concluded(now, self._streams.has_work)
        return replies

    def on_failed(self, batch: Batch, reason: str, now: float) -> list[Reply]:
        """The engine could not run the batch: the core ends its streams, and the next batch closes them."""
        self._is_stepping = False
        self._baseline.on_wait()
        for key in batch.streams:
            if stream := self._streams.get(key):
                self._handler.on_engine_failed(stream, reason)
        return self._settle(now)

    def finished(self, client: str, stream_id: int) -> FinishedStream | None:
        """A stream that has finished in the client's present session; None if it is not remembered."""
        return self._streams.finished(client, stream_id)

    def stats(self) -> CoreStats:
        """The present state."""
        handler = self._handler
        return CoreStats(
            handler.load(), tuple(handler.sessions.clients), handler.memory.prefix_cache.stats(), handler.memory.stats()
        )

    def _next_close(self, now: float) -> float:
        """When the batch closes; at once if it is full."""
        if self._is_full:
            return now
        view = make_batching_view(self._streams, self._config, self._timing.step_time, now)
        return self._batching.close_at(view, now)

    @property
    def _is_full(self) -> bool:
        return 0 < self._config.max_batch_streams <= len(self._streams.ready)

    def _closed_by(self, waited_until: float | None, now: float) -> BatchClose:
        """Why the batch closes now; it was postponed to `waited_until`, None: it was not."""
        if self._is_full:
            return BatchClose.FULL
        if waited_until is None:
            return BatchClose.AT_ONCE
        return BatchClose.TIMED_OUT if now >= waited_until else BatchClose.ARRIVED

    def _make_batch(self, closed_by: BatchClose) -> Batch:
        streams, config = self._streams, self._config
        selected = self._handler.memory.grow_or_preempt(
            select_streams(streams.ready, config.max_batch_streams, self._ordering)
        )
        is_priced = selected and config.draft_selection == "value"
        prices = self._pricing.prices(selected) if is_priced else CoLocatedPrices()
        turns = tuple([make_turn(stream, config, prices) for stream in selected])
        budget = self._pricing.budget(len(turns))
        num_verified = len(turns) + min(budget, sum([_num_drafted(turn) for turn in turns]))
        prefills = tuple(make_prefills(streams.prefilling, config.prefill_room(num_verified)))
        num_tokens = len(turns) + sum([prefill.num_tokens for prefill in prefills])
        sizes = self._pricing.sizes(len(turns), num_tokens, budget, prices)
        if not prefills and self._pricing.is_trial_due(has_proposals=any(turn.proposal for turn in turns)):
            sizes = sizes[:1]
        updates = self._outbox.take_stream_updates()
        self._handler.meter.on_batch(len(streams.ready) + len(streams.prefilling))
        streams.on_step(turns, prefills)
        price = 0.0 if sizes else prices.verifying
        return Batch(updates, turns, prefills, budget, sizes, price, config.draft_selection, closed_by)

    def _learn_timings(
        self, batch: Batch, result: StepResult, verified: Sequence[VerifiedStream], step_s: float, now: float
    ) -> None:
        """Step 1: learn from the times of the step and of the streams' rounds.

        Rounds count with the prefill in their steps: under load nearly every step has some, and local rounds share it.
        """
        engine_s = step_s - result.drafting_s
        self._timing.on_step(batch, result, engine_s)
        self._pricing.on_step(batch, result)
        if result.work:
            self._handler.meter.on_step(len(result.work), result.num_tokens, step_s)
            num_prefilled = sum([item.stream.baseline.is_prefilling for item in verified])
            self._baseline.on_step(result.work, self._streams.num_served - num_prefilled, now - step_s, engine_s)
        token_s, drafting_s = self._timing.step_time.token_s, self._timing.drafting_s
        co_batched_weight = self._co_batched_weight([item.stream for item in verified])
        local_rounds: list[LocalRoundTime] = []
        for item in verified:
            stream, num_verified = item.stream, len(item.draft_tokens)
            timing, wait_s = stream.client.timing, max(0.0, now - step_s - stream.waiting_since)
            round_s = wait_s + step_s - token_s * num_verified
            if stream.proposal is not None:
                timing.on_verdict(round_s, wait_s, co_batched_weight)
                timing.on_grant_used(stream.grant, min(num_verified, len(stream.proposal.tokens)))
            elif stream.is_prefilled:  # otherwise the round was the prompt's
                timing.on_local_round(self._timing.measured_local_s, has_neighbours=self._streams.num_served > 1)
                local_rounds.append(LocalRoundTime(round_s - drafting_s * item.num_drafting_steps, wait_s))
        self._timing.on_local_rounds(local_rounds)

    def _allocate_grants(self, streams: Sequence[ServedStream]) -> dict[StreamKey, int]:
        """Step 3: the grants of all streams that draft (per-batch schedulers: of these clients' streams)."""
        recipients = {stream.client for stream in streams}
        active = self._drafting_streams(recipients if self._allocator.is_per_batch else None)
        timing = self._timing
        local = LocalTimes(self._streams.num_served, timing.local_round_s, timing.drafting_s, self._pricing.least_value)
        return self._allocator.allocate(active, recipients, self._timing.step_time, local)

    def _conclude_rounds(
        self, streams: Sequence[ServedStream], grants: dict[StreamKey, int], started: float, now: float
    ) -> None:
        """Step 4: send the verdicts, end the finished streams, and give the others their next turn."""
        for stream in streams:
            self._baseline.add_round(stream.baseline, stream.protocol.num_new_tokens)
        for stream in streams:
            is_finished = stream.protocol.is_finished
            times_us = self._baseline.measured_us(stream.baseline, now) if is_finished else None
            if self._allocator.counts_time and (
                is_finished or sum(stream.rounds_by_mode) % FLOOR_ROUNDS == FLOOR_ROUNDS - 1
            ):
                stream.observe_floor(self._baseline.measured_us(stream.baseline, now))
            grant, queue_s = grants.get(stream.key, 0), started - stream.waiting_since
            shadow = 0 if grant else self._allocator.shadow_tokens(stream)
            verdict = stream.protocol.make_verdict(grant, queue_s, now - started, times_us, shadow=shadow)
            self._outbox.send(stream.conn, verdict)
            if not stream.is_prefilled:
                self._handler.memory.on_prefilled(stream)
            stream.on_verdict(verdict, now)
            if is_finished:
                self._streams.remember(stream, verdict, self._config.max_streams)
                self._handler.close(stream)
            elif stream.protocol.is_local and stream.conn is not None:
                self._streams.on_ready(stream, now)
            else:
                self._streams.on_drafting(stream, now)

    def _co_batched_weight(self, streams: Sequence[ServedStream]) -> float:
        """Total weight of the streams that the step has kept waiting; a stream has its share of its client's weight."""
        waiting = [*streams, *self._streams.ready.values(), *self._streams.prefilling.values()]
        return sum([stream.weight for stream in waiting])

    def _drafting_streams(self, clients: Iterable[Client] | None) -> dict[Client, list[ServedStream]]:
        """The streams of these (None: all) clients that draft now or after this step, the oldest first."""
        active: dict[Client, list[ServedStream]] = {}
        for stream in self._streams if clients is None else self._streams.in_order(clients):
            protocol = stream.protocol
            is_over = protocol.never_proposes or protocol.is_finished
            if stream.conn is not None and not is_over and stream.num_unprefilled == 0:
                active.setdefault(stream.client, []).append(stream)
        return active

    def _settle(self, now: float) -> list[Reply]:
        """Admit the streams that fit now, report the load if that is due, and hand out the replies."""
        self._handler.admit(now)
        self._handler.report_load(now)
        return self._outbox.take_replies()


def _num_drafted(turn: Turn) -> int:
    """The largest number of draft tokens that the step can verify of the turn."""
    num_co_located = turn.co_located.max_tokens if turn.co_located else 0
    return min(turn.max_tokens, len(turn.proposal) + num_co_located)

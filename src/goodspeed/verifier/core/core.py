"""The verifier's core: inputs in, decisions out, without I/O and without a clock."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from goodspeed.decoding.draft import StreamKey
from goodspeed.engine.interface import Outcome, TargetInfo, Work
from goodspeed.errors import ErrorCode, ProtocolError
from goodspeed.protocol.messages import Load, Message
from goodspeed.scheduling.draft_selection import DRAFT_SELECTIONS
from goodspeed.stats.ewma import Ewma
from goodspeed.verifier.core.batch import (
    Batch,
    CandidateOf,
    arrival_candidate,
    make_prefills,
    make_verifications,
    select_streams,
    value_candidate,
)
from goodspeed.verifier.core.batching.policies import BATCHINGS, ORDERINGS
from goodspeed.verifier.core.batching_view import make_batching_view
from goodspeed.verifier.core.client import Client, ConnId
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.core.draft_budget import DraftBudget
from goodspeed.verifier.core.grants import GrantAllocator
from goodspeed.verifier.core.message_handler import MessageHandler
from goodspeed.verifier.core.outbox import Reply, VerifierOutbox
from goodspeed.verifier.core.served_streams import ServedStream, ServedStreams
from goodspeed.verifier.core.timing.baseline import Baseline
from goodspeed.verifier.core.timing.round_timing import ROUND_WEIGHT
from goodspeed.verifier.core.timing.step_time import StepTimeModel


@dataclass(frozen=True, slots=True)
class CoreStats:
    """The state of the core. The clients are the core's own: read them in the thread that calls the core."""

    load: Load
    clients: tuple[Client, ...]


class VerifierCore:
    """Admits streams, closes batches, turns the engine's outcomes into verdicts, and grants draft tokens.

    The host calls on_* for every input and sends the returned replies in order. While the engine is idle, the host
    calls next_batch after every input and at wake_at. It runs the batch and reports with on_verified or on_failed.
    `now` is in seconds and never decreases. No input of a peer raises.
    """

    def __init__(self, config: VerifierCoreConfig, info: TargetInfo) -> None:
        self._config = config
        self._outbox = VerifierOutbox()
        self._streams = ServedStreams(self._outbox)
        self._handler = MessageHandler(config, info, self._streams, self._outbox)
        self._allocator = GrantAllocator(config)
        self._batching = BATCHINGS[config.batching](config.barrier_timeout_s)
        self._ordering = ORDERINGS[config.ordering](config.length_bucket)
        self._draft_budget = DraftBudget(config.budget)
        self._draft_selection = DRAFT_SELECTIONS[config.draft_selection]
        self._step_time = StepTimeModel()
        self._target_only_token_s = Ewma(ROUND_WEIGHT)  # of streams in target-only mode: the step and the wait for it
        self._baseline = Baseline(self._step_time, config.max_batch_streams, config.prefill_chunk)
        self._is_stepping = False
        self.close_at: float | None = None
        """When the batch closes that next_batch has postponed; None: none is postponed."""

    def on_connect(self, conn: ConnId, now: float) -> None:
        """A link was opened."""
        self._handler.on_connect(conn, now)

    def on_message(self, conn: ConnId, message: Message, now: float) -> list[Reply]:
        """A link has delivered its next message."""
        self._handler.on_message(conn, message, now)
        return self._settle(now)

    def on_malformed(self, conn: ConnId, error: ProtocolError, now: float) -> list[Reply]:
        """A link's next bytes were not a message; `error` names a stream, or concerns the session."""
        self._handler.on_malformed(conn, error, now)
        return self._settle(now)

    def on_disconnect(self, conn: ConnId, now: float) -> list[Reply]:
        """A link is lost; its streams are kept for their lease."""
        self._handler.on_disconnect(conn, now)
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
        self.close_at = None
        if self._streams.has_work:
            self.close_at = self._next_close(now)
            if self.close_at > now:
                self._baseline.on_wait()
                return None
        elif not self._outbox.has_stream_updates:
            return None
        self._is_stepping = True
        return self._make_batch()

    def wake_at(self) -> float | None:
        """When on_time and next_batch are due without another input, after next_batch returned None; None: never."""
        times = [time for time in (self.close_at, self._handler.wake_at()) if time is not None]
        return min(times, default=None)

    def on_verified(self, batch: Batch, outcomes: Sequence[Outcome], started: float, now: float) -> list[Reply]:
        """The engine ran the batch from `started` to `now`; outcomes are in the order of its work.

        The order of the four steps matters. Timings are read from proposals and grants that later steps overwrite.
        Outcomes extend the streams before grants are limited to what the streams can still use. Verdicts carry grants.
        """
        self._is_stepping = False
        verified = [
            (stream, outcome)
            for outcome in outcomes
            if outcome.next_token is not None and (stream := self._streams.get(outcome.stream))
        ]
        streams = [stream for stream, _ in verified]
        self._learn_timings(batch, streams, started, now)
        _apply_outcomes(verified)
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
                self._handler.fail(stream, ErrorCode.INTERNAL, reason)
        return self._settle(now)

    def stats(self) -> CoreStats:
        """The present state."""
        return CoreStats(self._handler.load(), tuple(self._handler.sessions.clients))

    def _next_close(self, now: float) -> float:
        """When the batch closes; at once if it is full."""
        if 0 < self._config.max_batch_streams <= len(self._streams.ready):
            return now
        view = make_batching_view(self._streams, self._config, self._step_time, now)
        return self._batching.close_at(view, now)

    def _make_batch(self) -> Batch:
        streams, config = self._streams, self._config
        selected = select_streams(streams.ready, config.max_batch_streams, self._ordering)
        budget = self._draft_budget.tokens(len(selected), self._step_time)
        verifications = make_verifications(selected, budget, self._draft_selection, self._candidate_of())
        num_tokens = sum(1 + len(item.draft_tokens) for item in verifications)
        prefills = make_prefills(streams.prefilling, config.prefill_room(num_tokens))
        work: tuple[Work, ...] = (*verifications, *prefills)
        closed, opened = self._outbox.take_stream_updates()
        streams.on_step(work)
        return Batch(closed, opened, work)

    def _candidate_of(self) -> CandidateOf:
        if self._config.draft_selection == "arrival":
            return arrival_candidate
        token_s = self._config.time_price * self._step_time.token_s
        return lambda stream: value_candidate(stream, len(stream.siblings), token_s)

    def _learn_timings(self, batch: Batch, streams: Sequence[ServedStream], started: float, now: float) -> None:
        """Step 1: learn from the times of the step and of the streams' rounds.

        A step with prefill says nothing about rounds, since prompt tokens may cost something else than draft tokens.
        """
        has_prefills, step_s = batch.has_prefills, now - started
        if batch.work:
            self._step_time.observe(batch.num_tokens, len(batch.work), step_s, batch.num_prompt)
            self._baseline.on_step_started(started)
            self._baseline.on_step(batch.work, batch.num_tokens, step_s)
        co_batched_weight = self._co_batched_weight(streams)
        for stream in streams:
            timing, waited_s = stream.client.timing, now - stream.waiting_since
            if stream.proposal is None:
                timing.on_target_only_round()
                if not has_prefills:
                    self._target_only_token_s.observe(waited_s)
            elif not has_prefills:
                num_verified = len(stream.proposal.tokens)
                own_s = self._step_time.token_s * num_verified
                timing.on_verdict(waited_s - own_s, co_batched_weight)
                timing.on_grant_used(stream.grant, num_verified)

    def _allocate_grants(self, streams: Sequence[ServedStream]) -> dict[StreamKey, int]:
        """Step 3: the grants of all streams that draft (per-batch schedulers: of these clients' streams)."""
        recipients = {stream.client for stream in streams}
        active = self._drafting_streams(recipients if self._allocator.is_per_batch else None)
        target_only_token_s = self._target_only_token_s.value
        if target_only_token_s is None:
            target_only_token_s = self._step_time.mean_s
        return self._allocator.allocate(active, recipients, self._step_time, target_only_token_s)

    def _conclude_rounds(
        self, streams: Sequence[ServedStream], grants: dict[StreamKey, int], started: float, now: float
    ) -> None:
        """Step 4: send the verdicts, end the finished streams, and give the others their next turn."""
        token_s = self._baseline.token_s(self._streams.num_served)
        for stream in streams:
            self._extend_baseline(stream, token_s)
            is_finished = stream.protocol.is_finished
            times_us = stream.baseline.measured_us(now) if is_finished and stream.baseline else (0, 0)
            grant, queue_s = grants.get(stream.key, 0), started - stream.waiting_since
            verdict = stream.protocol.make_verdict(grant, queue_s, now - started, times_us)
            self._outbox.send(stream.conn, verdict)
            stream.on_verdict(verdict, now)
            if is_finished:
                num_prompt = len(stream.request.tokens)
                self._baseline.on_finished(num_prompt, len(stream.protocol.committed) - num_prompt)
                self._streams.remember_verdict(stream.client, verdict, self._config.max_streams)
                self._handler.close(stream)
            elif stream.protocol.is_local and stream.conn is not None:
                self._streams.on_ready(stream, now)
            else:
                self._streams.on_drafting(stream, now)

    def _extend_baseline(self, stream: ServedStream, token_s: float | None) -> None:
        """Add the round; a round whose baseline is not known leaves the whole stream without one."""
        if token_s is None:
            stream.baseline = None
        elif stream.baseline:
            protocol = stream.protocol
            self._baseline.add_round(stream.baseline, protocol.num_new_tokens, protocol.has_verdict, token_s)

    def _co_batched_weight(self, streams: Sequence[ServedStream]) -> float:
        """Total weight of the streams that the step has kept waiting; a stream has its share of its client's weight."""
        waiting = [*streams, *self._streams.ready.values(), *self._streams.prefilling.values()]
        return sum(stream.client.config.weight / len(stream.siblings) for stream in waiting)

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


def _apply_outcomes(verified: Sequence[tuple[ServedStream, Outcome]]) -> None:
    """Step 2: learn the clients' acceptance, and commit the accepted tokens.

    A round that the scheduler put into target-only mode counts as one without draft tokens.
    """
    for stream, outcome in verified:
        client, proposal, protocol = stream.client, stream.proposal, stream.protocol
        if proposal is not None:
            client.on_proposal_verified(stream.num_granted, len(proposal.tokens), outcome.num_accepted)
            client.reliability.on_verdict(proposal.confidences, outcome.num_accepted)
        elif protocol.is_local and not protocol.never_proposes:
            client.on_proposal_verified(0, 0, 0)
        protocol.on_outcome(outcome, proposal.tokens if proposal else ())

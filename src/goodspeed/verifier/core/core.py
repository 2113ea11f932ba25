"""The verifier's core: facts in, decisions out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from goodspeed.engine.interface import Outcome, TargetInfo, Work
from goodspeed.errors import ErrorCode, ProtocolError
from goodspeed.protocol.messages import PROTOCOL_VERSION, Load, Message, Verdict, Welcome
from goodspeed.scheduling.draft_selection import DRAFT_SELECTIONS
from goodspeed.stats.ewma import Ewma
from goodspeed.verifier.core.batch import Batch, make_prefills, make_verifications, select_streams
from goodspeed.verifier.core.batching.policies import BATCHINGS, ORDERINGS
from goodspeed.verifier.core.batching_view import make_batching_view
from goodspeed.verifier.core.candidates import CandidateOf, arrival_candidate, value_candidate
from goodspeed.verifier.core.client import Client, ConnId
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.core.grants import GrantAllocator
from goodspeed.verifier.core.message_handler import MessageHandler, Reply
from goodspeed.verifier.core.served_stream import ServedStream
from goodspeed.verifier.core.timing.baseline import Baseline
from goodspeed.verifier.core.timing.round_timing import ROUND_WEIGHT
from goodspeed.verifier.core.timing.step_time import LASTING, LeastSquaresStepTime

LOAD_INTERVAL_S = 1.0
HELLO_S = 10.0
"""How long a link may stay silent before its Hello."""


@dataclass(frozen=True, slots=True)
class CoreStats:
    """How things stand; the clients are the core's own, to be read where the core is called."""

    load: Load
    clients: tuple[Client, ...]


class VerifierCore:
    """Admits streams, closes batches, judges by the engine's outcomes, and grants.

    The host calls on_* with every fact as it happens, and sends the replies in order. While the engine is idle it asks
    next_batch, again after every fact and at wake_at; it runs the batch, and reports with on_verified or on_failed.
    `now` is in seconds and never falls. Nothing that a peer does raises.
    """

    def __init__(self, config: VerifierCoreConfig, info: TargetInfo) -> None:
        welcome = Welcome(
            version=PROTOCOL_VERSION,
            verifier=config.name,
            model=info.model,
            model_fingerprint=info.model_fingerprint,
            vocab_size=info.vocab_size,
            max_context=info.max_context,
            max_streams=config.max_streams,
            max_proposal=config.max_proposal,
            end_tokens=info.end_tokens,
        )
        self._config = config
        self._intake = MessageHandler(config, info, welcome)
        self._streams = self._intake.streams
        self._sessions = self._intake.sessions
        self._sharing = GrantAllocator(config)
        self._batching = BATCHINGS[config.batching](config.barrier_timeout_s)
        self._ordering = ORDERINGS[config.ordering](config.length_bucket)
        self._step_time = LeastSquaresStepTime()
        self._lasting_step_time = LeastSquaresStepTime(LASTING)
        self._baseline = Baseline(config.max_batch_streams, config.prefill_chunk)
        self._target_only_token_s = Ewma(
            ROUND_WEIGHT
        )  # of streams in target-only mode: a step and the wait of its batch
        self._draft_selection = DRAFT_SELECTIONS[config.draft_selection]
        self._is_stepping = False
        self.close_at: float | None = None
        """When the batch that next_batch lets wait for more closes; None: it lets none wait."""
        self._told_load = self._intake.load()
        self._tell_load_at = 0.0

    def on_connect(self, conn: ConnId, now: float) -> None:
        """A link was opened at `now`."""
        self._sessions.begin(conn, now)

    def on_message(self, conn: ConnId, message: Message, now: float) -> list[Reply]:
        """A link's next message."""
        if session := self._sessions.get(conn):  # else it was on its way when its session ended
            self._intake.on_message(session, message, now)
        return self._settle(now)

    def on_malformed(self, conn: ConnId, error: ProtocolError, now: float) -> list[Reply]:
        """A link's next bytes were no message; `error` says whether one stream or the session is wrong."""
        if session := self._sessions.get(conn):
            self._intake.blame(session, error, None, now)
        return self._settle(now)

    def on_disconnect(self, conn: ConnId, now: float) -> list[Reply]:
        """A link is gone; its streams are kept for their lease."""
        if session := self._sessions.get(conn):
            self._intake.on_session_lost(session, now)
        return self._settle(now)

    def on_time(self, now: float) -> list[Reply]:
        """Time has passed: leases expire, strangers are shown out, the load is told."""
        while (stranger := self._sessions.oldest_stranger()) and stranger.since + HELLO_S <= now:
            self._intake.end_session(stranger, ErrorCode.OUT_OF_ORDER, f"no Hello for {HELLO_S:g} s", now)
        for stream in list(self._streams.drafting.values()):
            if stream.since + self._config.lease_s > now:
                break
            reason = f"nothing was proposed for {self._config.lease_s:g} s"
            self._intake.fail(stream, ErrorCode.LEASE_EXPIRED, reason)
        return self._settle(now)

    def on_shutdown(self, now: float) -> list[Reply]:
        """Part with everybody. What is left to do is a batch that closes their streams."""
        for session in self._sessions.all():
            self._intake.end_session(session, ErrorCode.SHUTTING_DOWN, "the verifier is shutting down", now)
        for stream in list(self._streams):
            self._intake.free(stream)
        return self._settle(now)

    def next_batch(self, now: float) -> Batch | None:
        """What the idle engine is to do now; None: nothing, or to wait until wake_at for more to join."""
        assert not self._is_stepping
        self.close_at = None
        if self._streams.has_work:
            self.close_at = self._next_close(now)
            if self.close_at > now:
                self._baseline.on_wait()
                return None
        elif not self._streams.has_news:
            return None
        self._is_stepping = True
        return self._make_batch()

    def wake_at(self) -> float | None:
        """When on_time and next_batch are due though nothing happens, after next_batch gave None; None: never."""
        times = [] if self.close_at is None else [self.close_at]
        if drafting := self._streams.drafting:
            times.append(next(iter(drafting.values())).since + self._config.lease_s)
        if stranger := self._sessions.oldest_stranger():
            times.append(stranger.since + HELLO_S)
        if self._intake.load() != self._told_load:
            times.append(self._tell_load_at)
        return min(times, default=None)

    def on_verified(self, batch: Batch, outcomes: Sequence[Outcome], started: float, now: float) -> list[Reply]:
        """The engine has run the batch from `started` to `now`; outcomes are in the order of its work."""
        self._is_stepping = False
        is_plain = not batch.has_prefills  # whose tokens may cost something else
        if batch.work:
            num_tokens = batch.num_tokens
            num_streams = len(batch.work)
            self._step_time.observe(num_tokens, num_streams, now - started)
            self._baseline.on_step_started(started)
            self._baseline.on_step(batch.work, num_tokens, now - started)
            if is_plain:
                self._lasting_step_time.observe(num_tokens, num_streams, now - started)
        judged = [
            (stream, outcome)
            for outcome in outcomes
            if outcome.next_token is not None and (stream := self._streams.with_key(outcome.stream))
        ]
        co_batched_weight = self._co_batched_weight([stream for stream, _ in judged])
        for stream, outcome in judged:
            _learn(stream, outcome)
            stream.end.on_outcome(outcome)
            if stream.proposal is None:
                stream.client.timing.on_target_only_round()
                if is_plain:
                    self._target_only_token_s.observe(now - stream.since)
            elif is_plain:
                num_verified = len(stream.proposal.tokens)
                own_s = self._lasting_step_time.token_s * num_verified
                stream.client.timing.on_verdict(now - stream.since - own_s, co_batched_weight)
                stream.client.timing.on_grant_used(stream.grant, num_verified)
        recipients = {stream.client for stream, _ in judged}
        active = self._drafting_streams(recipients if self._sharing.is_per_batch else None)
        target_only_token_s = self._target_only_token_s.value
        if target_only_token_s is None:
            target_only_token_s = self._lasting_step_time.mean_s
        grants = self._sharing.allocate(active, recipients, self._lasting_step_time, target_only_token_s)
        token_s = self._baseline.token_s(self._streams.num_served)
        for stream, _ in judged:
            self._add_to_baseline(stream, token_s)
            is_known = stream.baseline is not None and stream.end.is_finished
            reckoned_us = stream.baseline.measured_us(now) if stream.baseline and is_known else (0, 0)
            grant = grants.get(stream.key, 0)
            verdict = stream.end.make_verdict(grant, started - stream.since, now - started, reckoned_us)
            self._conclude(stream, verdict, now)
        replies = self._settle(now)
        self._baseline.on_step_concluded(now, self._streams.has_work)
        return replies

    def on_failed(self, batch: Batch, reason: str, now: float) -> list[Reply]:
        """The engine could not run the batch: the streams in it end, and the engine is told to close them."""
        self._is_stepping = False
        self._baseline.on_wait()
        for key in batch.streams:
            if stream := self._streams.with_key(key):
                self._intake.fail(stream, ErrorCode.INTERNAL, reason)
        return self._settle(now)

    def stats(self) -> CoreStats:
        """How things stand."""
        return CoreStats(self._intake.load(), tuple(self._sessions.clients))

    def _next_close(self, now: float) -> float:
        """There is work; who waits for a full batch to grow waits for nothing."""
        if 0 < self._config.max_batch_streams <= len(self._streams.ready):
            return now
        view = make_batching_view(self._streams, self._config, self._step_time, now)
        return self._batching.close_at(view, now)

    def _make_batch(self) -> Batch:
        table = self._streams
        verified = select_streams(table.ready, self._config.max_batch_streams, self._ordering)
        verifies = make_verifications(verified, self._config.budget, self._draft_selection, self._candidate_of())
        num_tokens = sum(1 + len(item.draft_tokens) for item in verifies)
        work: tuple[Work, ...] = (*verifies, *make_prefills(table.prefilling, self._config.prefill_room(num_tokens)))
        closed, opened = table.take_news()
        table.on_stepping(work)
        return Batch(closed, opened, work)

    def _candidate_of(self) -> CandidateOf:
        if self._config.draft_selection == "arrival":
            return arrival_candidate  # nothing to know
        token_s = self._config.time_price * self._lasting_step_time.token_s
        return lambda stream: value_candidate(stream, len(stream.siblings), token_s)

    def _co_batched_weight(self, judged: Sequence[ServedStream]) -> float:
        """Weight of those whom the step that ends now has kept waiting; a client counts by the share of its streams."""
        table = self._streams
        present = [*judged, *table.ready.values(), *table.prefilling.values()]
        return sum(stream.client.config.weight / len(stream.siblings) for stream in present)

    def _drafting_streams(self, of: Iterable[Client] | None) -> dict[Client, list[ServedStream]]:
        """These (or all) clients' streams whose drafter may propose now or after this step; the oldest first."""
        table = self._streams
        active: dict[Client, list[ServedStream]] = {}
        streams = table if of is None else table.in_order(of)
        for stream in streams:
            is_over = stream.is_fused or stream.end.is_finished
            if stream.conn is not None and not is_over and stream.num_unprefilled == 0:
                active.setdefault(stream.client, []).append(stream)
        return active

    def _conclude(self, stream: ServedStream, verdict: Verdict, now: float) -> None:
        """Send the verdict and see whose turn it is."""
        stream.proposal, stream.is_cut = None, False
        stream.grant = verdict.grant
        stream.client.num_rounds += 1
        stream.client.num_committed += verdict.num_accepted + 1
        if stream.conn is not None:
            self._intake.replies.append((stream.conn, verdict))
        if stream.end.is_finished:
            num_prompt = len(stream.request.tokens)
            self._baseline.on_finished(num_prompt, len(stream.end.committed) - num_prompt)
            stream.client.on_answer(verdict.baseline_us / 1e6, verdict.elapsed_us / 1e6)
            self._streams.remember_finished(stream.client, verdict, self._config.max_streams)
            self._intake.free(stream)
        elif stream.end.is_target_only and stream.conn is not None:
            self._streams.on_ready(stream, now)
        else:
            self._streams.on_drafting(stream, now)

    def _add_to_baseline(self, stream: ServedStream, token_s: float | None) -> None:
        """A round without a known baseline leaves the whole stream without one."""
        if token_s is None:
            stream.baseline = None
        elif stream.baseline:
            self._baseline.add_round(stream.baseline, stream.end.num_new_tokens, stream.end.has_verdict, token_s)

    def _settle(self, now: float) -> list[Reply]:
        """Admit who fits now, tell the load if it is time, and hand out the replies."""
        self._intake.admit(now)
        if now >= self._tell_load_at and (load := self._intake.load()) != self._told_load:
            self._told_load, self._tell_load_at = load, now + LOAD_INTERVAL_S
            self._intake.replies.extend((conn, load) for conn in self._sessions.welcome_conns())
        replies, self._intake.replies = self._intake.replies, []
        return replies


def _learn(stream: ServedStream, outcome: Outcome) -> None:
    """A verified proposal is evidence of its client, and a round alone is one without draft tokens."""
    if stream.proposal is not None:
        stream.client.on_proposal_verified(stream.num_granted, len(stream.proposal.tokens), outcome.num_accepted)
        stream.client.reliability.on_verdict(stream.proposal.confidences, outcome.num_accepted)
    elif stream.end.is_target_only and not stream.is_fused:
        stream.client.on_proposal_verified(0, 0, 0)

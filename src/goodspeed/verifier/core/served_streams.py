"""The admitted streams of a verifier, each in the queue of its state."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

from goodspeed.decoding.draft import StreamKey
from goodspeed.decoding.mode import Mode
from goodspeed.engine.interface import CachedPrefix, Prefill
from goodspeed.protocol.messages import Open, Propose, RoundMode, Verdict
from goodspeed.protocol.session import VerifierStream, num_right
from goodspeed.protocol.stream_queues import StreamQueues
from goodspeed.verifier.core.batch import Turn
from goodspeed.verifier.core.client import Client, ConnId
from goodspeed.verifier.core.outbox import VerifierOutbox
from goodspeed.verifier.core.shadow_drafts import ShadowDrafts
from goodspeed.verifier.core.timing.baseline import StreamBaseline


class ServedStreamState(IntEnum):
    """What a stream waits for."""

    PREFILLING = 0
    """The engine has not yet been given the whole prefix; in order of admission."""
    READY = 1
    """The next batch may verify it: its proposal has arrived, or it is in target-only mode; in order of arrival."""
    DRAFTING = 2
    """Its drafter's turn, or its drafter is disconnected; in the order in which leases expire."""
    STEPPING = 3
    """It is in the engine's running step."""
    PREEMPTED = 4
    """It has lost its memory, and waits to be continued; the longest first."""


@dataclass(frozen=True, slots=True)
class FinishedStream:
    """What is remembered of a finished stream."""

    verdict: Verdict  # its last, for a proposal that is repeated late
    rounds_by_mode: tuple[int, ...]  # by RoundMode, without that of the prompt


@dataclass(slots=True, eq=False)
class ServedStream:
    """An admitted stream."""

    key: StreamKey
    client: Client
    conn: ConnId | None  # None: its drafter is disconnected, and its lease runs
    protocol: VerifierStream
    capacity: int  # KV tokens that it may need at most
    num_unprefilled: int  # tokens; 0 once the engine was given all that it must read
    waiting_since: float  # when its wait started: for the engine, or for its drafter
    is_prefilled: bool = False  # the engine has run all of its tokens but the last
    is_reserved: bool = False  # it has memory for its whole answer, and is not preempted
    siblings: Mapping[int, "ServedStream"] = field(default_factory=dict)  # its client's streams by id, with itself
    num_steps_before: int = 0  # steps that the engine had started when the drafter's turn started
    proposal: Propose | None = None  # to be verified
    grant: int = 0  # of its last verdict; 0 if its drafter, in another mode by then, has declined it
    compared_us: tuple[int, int] = (0, 0)  # its baseline and its time when they were last compared
    shadows: ShadowDrafts = field(init=False)
    rounds_by_mode: list[int] = field(default_factory=lambda: [0] * len(RoundMode))  # without that of the prompt
    baseline: StreamBaseline = field(default_factory=StreamBaseline)

    def __post_init__(self) -> None:
        self.shadows = ShadowDrafts(self.request.sampling)

    @property
    def request(self) -> Open:
        return self.protocol.request

    @property
    def weight(self) -> float:
        """Its share of its client's weight."""
        return self.client.weight / len(self.siblings)

    @property
    def goodput(self) -> float:
        """Tokens that a round of its mode commits, smoothed over its client's rounds."""
        client = self.client
        return client.estimator.goodput if self.proposal else client.local_goodput.get(default=1.0)

    @property
    def num_tokens(self) -> int:
        """Tokens that its verification adds to a step."""
        return 1 + (len(self.proposal.tokens) if self.proposal else 0)

    @property
    def num_written(self) -> int:
        """KV tokens that it holds after a verification of the longest draft that it can use."""
        return len(self.protocol.committed) + self.protocol.max_draft

    def observe_floor(self, measured_us: tuple[int, int] | None) -> None:
        """Compare its time with its baseline since the last call; `measured_us` as Baseline.measured_us."""
        if measured_us is not None:
            baseline_us, elapsed_us = measured_us
            self.client.floor.observe(baseline_us - self.compared_us[0], elapsed_us - self.compared_us[1])
            self.compared_us = measured_us

    def change_mode(self, mode: Mode) -> None:
        """Its drafter asks for this mode. What it was asked to draft in the mode before is not awaited any more."""
        if mode is not self.protocol.mode:
            self.protocol.change_mode(mode)
            self.shadows = ShadowDrafts(self.request.sampling)
            self.client.num_mode_changes += 1

    def on_verdict(self, verdict: Verdict, now: float) -> None:
        """The round is over: count it, and clear what belongs to it."""
        client, proposal = self.client, self.proposal
        num_proposed = len(proposal.tokens) if proposal else 0
        mode = verdict.mode(num_proposed)
        client.on_round(mode, verdict)
        if verdict.round:
            self.rounds_by_mode[mode] += 1
        if proposal:
            num_verified = self.protocol.num_proposal_verified
            client.on_proposal_answered(num_proposed, num_verified, min(num_verified, num_right(proposal, verdict)))
        if self.protocol.is_finished:
            client.on_answer(verdict.baseline_us, verdict.elapsed_us)
        self.is_prefilled = True
        self.proposal = None
        self.grant = verdict.grant
        self.shadows.on_verdict(verdict, client, self.protocol.committed, now)

    def can_resume(self, request: Open) -> bool:
        """True if the engine holds exactly the state that the reopening needs."""
        mine = self.request
        return (
            self.is_prefilled
            and list(request.tokens) == self.protocol.committed
            and (request.num_prompt, request.max_tokens) == (mine.num_prompt, mine.max_tokens)
            and request.sampling == mine.sampling
            and (request.logprobs, request.top_logprobs) == (mine.logprobs, mine.top_logprobs)
            and not request.prompt_logprobs  # they come with the prefill only
        )


class ServedStreams:
    """All admitted streams; reports openings and closings to the outbox. `now` never decreases from call to call.

    `prefilling`, `ready`, `drafting` and `preempted` are the queues of these states, the longest waiting stream first.
    """

    def __init__(self, outbox: VerifierOutbox) -> None:
        self._outbox = outbox
        self._table = StreamQueues[ServedStreamState, ServedStream](ServedStreamState)
        self.prefilling = self._table.queue(ServedStreamState.PREFILLING)
        self.ready = self._table.queue(ServedStreamState.READY)
        self.drafting = self._table.queue(ServedStreamState.DRAFTING)
        self.preempted = self._table.queue(ServedStreamState.PREEMPTED)
        self._by_client: dict[str, dict[int, ServedStream]] = {}
        self._finished: dict[str, dict[int, FinishedStream]] = {}  # by client and stream id
        self._keys = itertools.count(1)
        self._num_disconnected = 0
        self.num_steps = 0  # that the engine has started

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[ServedStream]:
        return iter(self._table)

    @property
    def has_work(self) -> bool:
        return bool(self.ready or self.prefilling)

    @property
    def num_served(self) -> int:
        """Streams past their prefill whose drafters are connected."""
        return len(self._table) - len(self.prefilling) - len(self.preempted) - self._num_disconnected

    def next_key(self) -> StreamKey:
        return next(self._keys)

    def get(self, key: StreamKey) -> ServedStream | None:
        return self._table.get(key)

    def of(self, client: Client) -> Mapping[int, ServedStream]:
        """The client's streams by their stream ids."""
        return self._by_client.get(client.name, {})

    def in_order(self, clients: Iterable[Client]) -> list[ServedStream]:
        """All streams of these clients, in the order in which iterating over the table yields them."""
        return sorted((stream for client in clients for stream in self.of(client).values()), key=_key)

    def num_connected(self, client: Client) -> int:
        """The number of the client's streams in its present session."""
        return sum(stream.conn == client.conn for stream in self.of(client).values())

    def is_stepping(self, stream: ServedStream) -> bool:
        """True while the engine works on the stream."""
        return self._table.state(stream.key) is ServedStreamState.STEPPING

    def is_preempted(self, stream: ServedStream) -> bool:
        """True while the stream has no memory."""
        return stream.key in self.preempted

    def awaits_proposal(self, stream: ServedStream) -> bool:
        """True if nothing but a proposal is missing for its next round."""
        return self._table.state(stream.key) is ServedStreamState.DRAFTING

    def has_missed_batch(self, stream: ServedStream) -> bool:
        """True if a batch was closed since its drafter's turn started."""
        return stream.num_steps_before < self.num_steps

    def oldest_disconnected(self) -> ServedStream | None:
        """The stream whose drafter is disconnected for longest, unless the engine works on it."""
        return next((stream for stream in self.drafting.values() if stream.conn is None), None)

    def open_in_engine(self, stream: ServedStream, prefix: CachedPrefix | None) -> None:
        """The engine opens the stream with the next batch, and need not read the prefix."""
        self._outbox.open_stream(stream.key, replace(stream.protocol.spec(stream.client.name), prefix=prefix))

    def add(self, stream: ServedStream) -> None:
        """Add a newly admitted stream."""
        self._add_sibling(stream)
        self._table.put(stream.key, stream, ServedStreamState.PREFILLING)

    def replace(self, stream: ServedStream, now: float) -> None:
        """The stream takes the place of the one with the same key, whose state in the engine it continues."""
        older = self._table.get(stream.key)
        self._num_disconnected -= older is not None and older.conn is None
        self._add_sibling(stream)
        self.on_ready(stream, now)

    def preempt(self, stream: ServedStream, num_retained: int) -> None:
        """The engine ends the stream with the next batch, and keeps the first `num_retained` tokens. It waits."""
        self._outbox.end_stream(stream.key, num_retained, is_preempted=True)
        stream.is_prefilled = False
        stream.num_unprefilled = len(stream.protocol.committed)
        self._table.put(stream.key, stream, ServedStreamState.PREEMPTED)

    def rename(self, stream: ServedStream) -> None:
        """Give a preempted stream the key under which it is continued."""
        self._table.remove(stream.key)
        stream.key = self.next_key()
        self._table.put(stream.key, stream, ServedStreamState.PREEMPTED)

    def resume(self, stream: ServedStream, num_cached: int, now: float) -> None:
        """The engine opens a preempted stream again, and reads what is not cached before it verifies.

        The last token is left to the verification if a verdict has committed it.
        """
        stream.num_unprefilled = len(stream.protocol.committed) - stream.protocol.has_verdict - num_cached
        if stream.num_unprefilled:
            self._table.put(stream.key, stream, ServedStreamState.PREFILLING)
        else:
            self.on_restored(stream, now)

    def on_restored(self, stream: ServedStream, now: float) -> None:
        """A resumed stream is where it was: its next round may begin, or has begun."""
        if stream.conn is not None and (stream.proposal or stream.protocol.is_local):
            self.on_ready(stream, now)
        else:
            self.on_drafting(stream, now)

    def close(self, stream: ServedStream, num_retained: int) -> None:
        """Remove the stream; the engine ends it with the next batch, and keeps the first `num_retained` tokens."""
        if not self.is_preempted(stream):
            self._outbox.end_stream(stream.key, num_retained)
        self._table.remove(stream.key)
        self._num_disconnected -= stream.conn is None
        siblings = self._by_client[stream.client.name]
        del siblings[stream.request.stream]
        if not siblings:
            del self._by_client[stream.client.name]

    def on_ready(self, stream: ServedStream, now: float) -> None:
        """The next batch may verify the stream."""
        stream.waiting_since = now
        self._table.put(stream.key, stream, ServedStreamState.READY)

    def on_step(self, turns: Sequence[Turn], prefills: Sequence[Prefill]) -> None:
        """The engine starts a step over this work; streams in state DRAFTING have missed it."""
        for turn in turns:
            self._on_stepping(turn.stream)
        for prefill in prefills:
            stream = self._table.get(prefill.stream)
            assert stream is not None
            stream.num_unprefilled -= prefill.num_tokens
            if stream.num_unprefilled == 0:
                self._on_stepping(stream.key)
        self.num_steps += 1

    def _on_stepping(self, key: StreamKey) -> None:
        stream = self._table.get(key)
        assert stream is not None
        self._table.put(key, stream, ServedStreamState.STEPPING)

    def on_drafting(self, stream: ServedStream, now: float) -> None:
        """The drafter's turn starts."""
        stream.waiting_since = now
        stream.num_steps_before = self.num_steps
        self._table.put(stream.key, stream, ServedStreamState.DRAFTING)

    def on_disconnected(self, stream: ServedStream, now: float) -> None:
        """Its session has ended: its lease starts now, or when the engine has finished with it."""
        stream.conn = None
        self._num_disconnected += 1
        if not self.is_stepping(stream):
            self.on_drafting(stream, now)

    def remember(self, stream: ServedStream, last: Verdict, max_remembered: int) -> None:
        """Keep what is remembered of a finished stream; of a client, only the latest `max_remembered`."""
        finished = self._finished.setdefault(stream.client.name, {})
        finished[last.stream] = FinishedStream(last, tuple(stream.rounds_by_mode))
        while len(finished) > max_remembered:
            del finished[next(iter(finished))]

    def finished(self, client: str, stream_id: int) -> FinishedStream | None:
        """A finished stream of the client's present session; None if it is not remembered."""
        return self._finished.get(client, {}).get(stream_id)

    def forget_finished_stream(self, client: Client, stream_id: int) -> None:
        self._finished.get(client.name, {}).pop(stream_id, None)

    def forget_finished(self, client: Client) -> None:
        self._finished.pop(client.name, None)

    def _add_sibling(self, stream: ServedStream) -> None:
        siblings = self._by_client.setdefault(stream.client.name, {})
        siblings[stream.request.stream] = stream
        stream.siblings = siblings


def _key(stream: ServedStream) -> StreamKey:
    return stream.key

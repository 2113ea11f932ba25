"""Whatever drafters do, in any order: the core never raises, and its guarantees hold.

The toy engine asserts the rest: memory within its capacity, one piece of work per stream, prefixes before proposals.
"""

from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from goodspeed.decoding.draft import Draft
from goodspeed.decoding.mode import Mode
from goodspeed.engine.interface import Prefill, Verify
from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.errors import ErrorCode, ProtocolError
from goodspeed.protocol.messages import Cancel, ChangeMode, Error, Message, Propose, Refused, Verdict
from goodspeed.protocol.session import DrafterStream
from goodspeed.scheduling.policies import SCHEDULERS
from goodspeed.testing.virtual_verifier import hello, open_request, target_only_text
from goodspeed.verifier.core.batch import Batch, StepResult
from goodspeed.verifier.core.batching.policies import BATCHINGS, ORDERINGS
from goodspeed.verifier.core.core import VerifierCore
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.step import run_batch

BUDGET = 10
PREFILL_CHUNK = 16
KV_CAPACITY = 160
drafters = st.integers(0, 2)
stream_ids = st.integers(0, 3)
MISHAPS = ("reconnect", "disconnect", "reopen", "repeat", "cancel", "wrong proposal", "garbage", "failure")


class RandomTraffic(RuleBasedStateMachine):
    """Three drafters that follow the protocol and act at random."""

    @initialize(
        scheduler=st.sampled_from(list(SCHEDULERS)),
        batching=st.sampled_from(list(BATCHINGS)),
        ordering=st.sampled_from(list(ORDERINGS)),
        max_streams=st.integers(0, 2),
        memory=st.tuples(
            st.sampled_from([(0, "client"), (60, "client"), (2**30, "client"), (2**30, "all")]),
            st.sampled_from([(0.0, 1), (0.02, 1), (0.02, 16)]),
        ),
    )
    def start(
        self,
        scheduler: str,
        batching: str,
        ordering: str,
        max_streams: int,
        memory: tuple[tuple[int, str], tuple[float, int]],
    ) -> None:
        (prefix_cache_tokens, prefix_sharing), (growth_watermark, kv_block) = memory
        config = VerifierCoreConfig(
            scheduler=scheduler,
            batching=batching,
            ordering=ordering,
            max_batch_streams=max_streams,
            budget=BUDGET,
            prefill_chunk=PREFILL_CHUNK,
            max_streams=3,
            max_queued=4,
            lease_s=5.0,
            prefix_cache_tokens=prefix_cache_tokens,
            prefix_sharing=prefix_sharing,
            growth_watermark=growth_watermark,
        )
        self.engine = ToyTarget(toy_info(kv_capacity=KV_CAPACITY, kv_block=kv_block))
        self.core = VerifierCore(config, self.engine.info)
        self.now = 0.0
        self.batch: Batch | None = None
        self.result = StepResult()
        self.conns: dict[int, int] = {}
        self.num_conns = 0
        self.streams: dict[tuple[int, int], DrafterStream] = {}
        for drafter in range(3):
            self.reconnect(drafter)

    @rule(drafter=drafters, stream=stream_ids, num_prompt=st.integers(1, 40), is_target_only=st.booleans())
    def open(self, drafter: int, stream: int, num_prompt: int, is_target_only: bool) -> None:
        if (drafter, stream) not in self.streams:
            mode = Mode.TARGET_ONLY if is_target_only else Mode.DISTRIBUTED
            request = replace(open_request(stream, prompt=range(num_prompt), max_tokens=15), mode=mode)
            self.streams[drafter, stream] = DrafterStream(request)
            self.deliver(drafter, request)

    @rule(num_right=st.integers(0, 8), num_wrong=st.integers(0, 8))
    def propose(self, num_right: int, num_wrong: int) -> None:
        for (drafter, _), known in list(self.streams.items()):
            if known.is_ready:
                start = len(known.committed)
                tokens = (*target_only_text(known.opening)[start : start + num_right], *(3,) * num_wrong)[
                    : known.max_draft
                ]
                self.deliver(drafter, known.propose(Draft(tokens, ()), drafting_s=0.0))

    @rule(drafter=drafters, stream=stream_ids, mode=st.sampled_from(Mode), num_times=st.integers(1, 2))
    def change_mode(self, drafter: int, stream: int, mode: Mode, num_times: int) -> None:
        """Also for streams of which the core knows nothing."""
        known = self.streams.get((drafter, stream))
        change = known.change_mode(mode) if known else ChangeMode(stream, 0, mode)
        for _ in range(num_times):
            self.deliver(drafter, change)

    @rule()
    def step(self) -> None:
        if self.batch is None:
            self.begin_step()
        else:
            self.finish_step()

    @rule()
    def whole_step(self) -> None:
        self.step()
        self.step()

    @rule(event=st.sampled_from(MISHAPS), drafter=drafters, stream=stream_ids)
    def disturb(self, event: str, drafter: int, stream: int) -> None:
        known = self.streams.get((drafter, stream))
        match event:
            case "reconnect":
                self.reconnect(drafter)
            case "disconnect":
                self.disconnect(drafter)
            case "reopen" if known:
                self.deliver(drafter, known.reopen())
            case "repeat" if known and (proposal := known.pending_proposal):
                self.deliver(drafter, proposal)
            case "cancel" if known:
                del self.streams[drafter, stream]
                self.deliver(drafter, Cancel(stream, known.opening.epoch))
            case "wrong proposal":
                self.deliver(drafter, Propose(stream, 0, 1, 5, 77, (300,) * 20))
            case "garbage" if conn := self.conns.get(drafter):
                error = ProtocolError(ErrorCode.MALFORMED, "garbage", stream)
                self.take(self.core.on_malformed(conn, error, self.now))
            case "failure" if self.batch is not None:
                batch, self.batch = self.batch, None
                self.take(self.core.on_failed(batch, "planted", self.now))

    @rule(seconds=st.sampled_from([0.001, 0.1, 2.0, 6.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.take(self.core.on_time(self.now))

    def reconnect(self, drafter: int) -> None:
        """Open a new link, and resume every stream over it."""
        self.num_conns += 1
        self.core.on_connect(self.num_conns, self.now)
        self.conns[drafter] = self.num_conns
        self.deliver(drafter, hello(f"drafter {drafter}"))
        for known in [known for (whose, _), known in self.streams.items() if whose == drafter]:
            self.deliver(drafter, known.reopen())

    def disconnect(self, drafter: int) -> None:
        if conn := self.conns.pop(drafter, None):
            self.take(self.core.on_disconnect(conn, self.now))

    def begin_step(self) -> None:
        self.batch = self.core.next_batch(self.now)
        if self.batch is None:
            return
        self.result = run_batch(self.engine, self.batch)
        drafted = [len(item.draft_tokens) for item in self.result.work if isinstance(item, Verify)]
        prefilled = [item.num_tokens for item in self.result.work if isinstance(item, Prefill)]
        assert sum(drafted) <= BUDGET
        assert sum(prefilled) <= PREFILL_CHUNK

    def finish_step(self) -> None:
        assert self.batch is not None
        batch, self.batch = self.batch, None
        self.now += 0.05
        self.take(self.core.on_verified(batch, self.result, self.now - 0.05, self.now))

    @invariant()
    def memory_is_within_bounds(self) -> None:
        stats = self.core.stats()
        assert 0 <= stats.load.kv_used <= KV_CAPACITY
        assert stats.load.queued_streams <= 4 + stats.memory.num_preempted
        assert stats.load.kv_used + stats.memory.num_retained <= KV_CAPACITY

    @invariant()
    def grants_are_within_the_budget(self) -> None:
        assert all(0 <= client.grant <= BUDGET for client in self.core.stats().clients)

    def teardown(self) -> None:
        """When all drafters have disconnected, the core holds nothing but its prefix cache; at last not even that."""
        if self.batch is not None:
            self.finish_step()
        for drafter in list(self.conns):
            self.disconnect(drafter)
        self.wait(6.0)
        self.end_streams()
        assert self.engine.num_open == 0
        load = self.core.stats().load
        assert (load.open_streams, load.queued_streams, load.kv_used) == (0, 0, 0)
        stats = self.core.stats()
        assert stats.prefix_cache.num_tokens == self.engine.num_retained
        assert stats.memory.num_retained == self.engine.num_reserved
        self.core.on_shutdown(self.now)
        self.end_streams()
        assert self.core.stats().prefix_cache.num_tokens == self.engine.num_retained == self.engine.num_reserved == 0

    def end_streams(self) -> None:
        while batch := self.core.next_batch(self.now):
            assert not batch.has_step
            self.core.on_verified(batch, run_batch(self.engine, batch), self.now, self.now)

    def deliver(self, drafter: int, message: Message) -> None:
        if conn := self.conns.get(drafter):
            self.take(self.core.on_message(conn, message, self.now))

    def take(self, replies: Sequence[tuple[int, Message]]) -> None:
        drafter_of = {conn: drafter for drafter, conn in self.conns.items()}
        for conn, message in replies:
            drafter = drafter_of.get(conn)
            if drafter is None:
                assert not isinstance(message, Verdict)
            elif isinstance(message, Verdict):
                self.take_verdict(drafter, message)
            elif isinstance(message, Error) and message.stream is not None:
                self.take_error(drafter, message.stream, message.epoch)
            elif isinstance(message, Refused | Error):
                self.conns.pop(drafter, None)

    def take_verdict(self, drafter: int, verdict: Verdict) -> None:
        """Committed text is always the target's own."""
        known = self.streams.get((drafter, verdict.stream))
        if known is None:
            return
        known.on_verdict(verdict)
        assert known.committed == target_only_text(known.opening)[: len(known.committed)]
        if known.finish:
            del self.streams[drafter, verdict.stream]

    def take_error(self, drafter: int, stream: int, epoch: int) -> None:
        known = self.streams.get((drafter, stream))
        if known and known.opening.epoch == epoch:
            del self.streams[drafter, stream]


TestRandomTraffic = RandomTraffic.TestCase
TestRandomTraffic.settings = settings(max_examples=60, stateful_step_count=80, deadline=None)

"""The draft server with verification servers, over the in-process transport."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace

import pytest
from tests.drafter.live import LiveVerifier, drafter_at, read

from goodspeed.decoding.draft import Draft, DraftRequest
from goodspeed.decoding.mode import Mode
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.drafter.core.core_config import DrafterCoreConfig, RetryConfig
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.drafter.draft_runner import InlineDraftRunner, ThreadDraftRunner
from goodspeed.drafter.uplink import VerifierEndpoint, dial
from goodspeed.engine.toy_draft import ToyDraft
from goodspeed.errors import LinkLostError, ProtocolError
from goodspeed.protocol.inprocess import InProcessTransport
from goodspeed.protocol.link_config import LinkConfig
from goodspeed.protocol.messages import PROTOCOL_VERSION, Hello, Welcome
from goodspeed.protocol.transport import Connection
from goodspeed.testing.virtual_drafter import target_only_tokens

REQUEST = GenerationRequest(tuple(b"the quick brown"), max_tokens=40)
COUPLED = replace(REQUEST, sampling=Sampling(0.7, seed=11, rule=Rule.COUPLED))
LONG = replace(REQUEST, max_tokens=3000)


async def test_text_is_the_targets_own() -> None:
    async with LiveVerifier().running() as verifier, drafter_at([verifier]) as drafter:
        assert await read(drafter, REQUEST) == target_only_tokens(REQUEST)
        assert await read(drafter, COUPLED) == target_only_tokens(COUPLED)


async def test_text_is_the_targets_own_when_drafts_come_from_a_thread() -> None:
    runner = ThreadDraftRunner(ToyDraft(0.7))
    async with LiveVerifier().running() as verifier, drafter_at([verifier], runner=runner) as drafter:
        answers = await asyncio.gather(*(read(drafter, COUPLED) for _ in range(4)))
        assert answers == [target_only_tokens(COUPLED)] * 4


async def test_stats_count_the_rounds() -> None:
    async with LiveVerifier().running() as verifier, drafter_at([verifier]) as drafter:
        with drafter.generate(REQUEST) as answer:
            async for _ in answer:
                pass
        (stats,) = answer.stats
        num_proposed = sum(measured.num_proposed for measured in stats.rounds)
        assert stats.num_committed == 40
        assert 0 < sum(measured.num_accepted for measured in stats.rounds) < num_proposed
        assert len(stats.rounds) < 40
        assert stats.verifier == "verifier"
        assert drafter.metrics.num_committed == 40
        assert drafter.traffic.sent_bytes > 0


async def test_target_only_stream_proposes_nothing() -> None:
    async with LiveVerifier().running() as verifier, drafter_at([verifier]) as drafter:
        with drafter.generate(replace(REQUEST, mode=Mode.TARGET_ONLY)) as answer:
            tokens = [token async for committed in answer for token in committed.tokens]
        assert tokens == target_only_tokens(REQUEST)
        (stats,) = answer.stats
        assert [measured.num_proposed for measured in stats.rounds] == [0] * 40


async def test_closed_answer_frees_its_stream_everywhere() -> None:
    async with LiveVerifier().running() as verifier, drafter_at([verifier]) as drafter:
        with drafter.generate(LONG) as answer:
            await anext(answer)
            assert verifier.engine.num_open == 1
        await verifier.drained()
        assert drafter.num_streams == 0
        assert await read(drafter, REQUEST) == target_only_tokens(REQUEST)


async def test_text_continues_after_a_cut_link() -> None:
    async with LiveVerifier().running() as verifier, drafter_at([verifier], link=LinkConfig(rtt_ms=2.0)) as drafter:
        with drafter.generate(replace(COUPLED, max_tokens=120)) as answer:
            tokens: list[int] = []
            async for committed in answer:
                if len(tokens) // 30 < (len(tokens) + len(committed.tokens)) // 30:
                    verifier.transport.cut()
                tokens += committed.tokens
        assert tokens == target_only_tokens(replace(COUPLED, max_tokens=120))


async def test_next_verifier_continues_when_the_first_shuts_down() -> None:
    async with LiveVerifier().running() as second, contextlib.AsyncExitStack() as first_running:
        first = await first_running.enter_async_context(LiveVerifier().running())
        async with drafter_at([first, second]) as drafter:
            with drafter.generate(replace(COUPLED, max_tokens=300)) as answer:
                tokens = [*(await anext(answer)).tokens]
                await first_running.aclose()
                tokens += [token async for committed in answer for token in committed.tokens]
            assert tokens == target_only_tokens(replace(COUPLED, max_tokens=300))
            await second.drained()


async def test_streams_fail_when_no_verifier_is_left() -> None:
    config = DrafterCoreConfig(retry=RetryConfig(give_up_s=0.3))
    async with contextlib.AsyncExitStack() as running:
        verifier = await running.enter_async_context(LiveVerifier().running())
        async with drafter_at([verifier], config) as drafter:
            with drafter.generate(LONG) as answer:
                await anext(answer)
                await running.aclose()
                with pytest.raises(LinkLostError, match=r"no verifier could be reached for 0\.3 s"):
                    async for _ in answer:
                        pass
            assert drafter.num_streams == 0


async def test_refused_drafter_reports_the_reason() -> None:
    async with LiveVerifier(fingerprint="another").running() as verifier:
        with pytest.raises(LinkLostError, match="TOKENIZER_MISMATCH"):
            async with drafter_at([verifier], meet_s=0.2):
                pass


@pytest.mark.parametrize("version", [1, 2, 3, 4, 6])
async def test_a_verifier_of_another_protocol_version_is_left_with_the_reason(version: int) -> None:
    async def welcome(connection: Connection) -> None:
        await connection.receive()
        await connection.send([Welcome(version, "old", "toy", "toy", 259, 4096, 64, 16, ())])
        with contextlib.suppress(LinkLostError):
            await connection.receive()

    network = InProcessTransport(welcome)
    verifier = VerifierEndpoint("old", network.connector())
    with pytest.raises(ProtocolError, match=f"the verifier has protocol version {version}, this drafter has 5"):
        await dial(verifier, Hello(PROTOCOL_VERSION, "drafter", "toy"))
    await network.close()


async def test_shutdown_ends_every_answer_here_and_there() -> None:
    async with LiveVerifier().running() as verifier:
        async with drafter_at([verifier]) as drafter:
            answer = drafter.generate(LONG)
            await anext(answer)
        with pytest.raises(LinkLostError, match="shutting down"):
            async for _ in answer:
                pass
        with pytest.raises(LinkLostError, match="shutting down"):
            drafter.generate(REQUEST)
        await verifier.drained()


class BrokenDraft(ToyDraft):
    """Fails at its third draft."""

    num_drafts = 0

    def draft(self, requests: Sequence[DraftRequest]) -> list[Draft]:
        self.num_drafts += 1
        if self.num_drafts == 3:
            raise RuntimeError("out of memory")
        return super().draft(requests)


@pytest.mark.parametrize("kind", [InlineDraftRunner, ThreadDraftRunner])
async def test_answer_continues_without_a_draft_engine_that_failed(
    kind: type[InlineDraftRunner | ThreadDraftRunner], caplog: pytest.LogCaptureFixture
) -> None:
    runner = kind(BrokenDraft(0.7))
    async with LiveVerifier().running() as verifier, drafter_at([verifier], runner=runner) as drafter:
        assert await read(drafter, REQUEST) == target_only_tokens(REQUEST)
    assert "out of memory" in caplog.text
    caplog.clear()

"""The prefix cache: no turn is read twice, clients are apart, and memory comes first for streams that are open."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from goodspeed.decoding.mode import Mode
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.interface import CachedPrefix, Prefill
from goodspeed.engine.toy_target import toy_info
from goodspeed.protocol.messages import Cancel, Message, Open, Opened
from goodspeed.testing.virtual_verifier import VirtualDrafter, VirtualVerifier, open_request, target_only_text
from goodspeed.verifier.core.batch import DropPrefix, OpenStream
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.core.kv_ledger import KvLedger
from goodspeed.verifier.core.outbox import VerifierOutbox
from goodspeed.verifier.core.prefix_cache import PrefixCache

PROMPT = tuple(range(40, 80))
COUPLED = Sampling(temperature=0.8, seed=7, rule=Rule.COUPLED)


def cached_tokens(messages: Sequence[Message]) -> list[int]:
    """The cached tokens of the streams that were opened."""
    return [message.cached_tokens for message in messages if isinstance(message, Opened)]


def num_read(verifier: VirtualVerifier) -> int:
    """Prompt tokens that the engine has been given so far."""
    return sum(item.num_tokens for batch in verifier.batches for item in batch.prefills)


def target_only(stream: int, prompt: Sequence[int], max_tokens: int = 20) -> Open:
    return replace(open_request(stream, prompt, max_tokens), mode=Mode.TARGET_ONLY)


def answer(verifier: VirtualVerifier, conn: int, request: Open) -> int:
    """Open the stream and run it to its end. Returns the tokens that were cached."""
    (opened,) = [message for message in verifier.deliver(conn, request) if isinstance(message, Opened)]
    verifier.step_until_idle()
    return opened.cached_tokens


@pytest.mark.parametrize("sampling", [Sampling(), COUPLED], ids=["greedy", "coupled"])
def test_a_turn_reads_only_what_is_new(sampling: Sampling) -> None:
    verifier = VirtualVerifier()
    drafter = VirtualDrafter(verifier, "edge", 0.7)
    prompt = PROMPT
    num_before = 0
    for turn in range(4):
        request = open_request(turn, prompt, sampling=sampling)
        drafter.open(request)
        verifier.run(10.0)
        assert drafter.texts[turn] == target_only_text(request)
        assert num_read(verifier) - num_before == (len(PROMPT) if turn == 0 else 6)  # the last token was never run
        num_before = num_read(verifier)
        prompt = (*drafter.texts[turn], 1, 2, 3, 4, 5)
    assert verifier.core.stats().prefix_cache.num_tokens == len(prompt) - 6  # the text of each turn is kept once
    assert verifier.core.stats().load.kv_used == 0


def test_the_last_token_is_always_read() -> None:
    verifier = VirtualVerifier()
    conn = verifier.welcome("edge")
    assert answer(verifier, conn, target_only(1, PROMPT)) == 0
    assert answer(verifier, conn, target_only(2, PROMPT)) == len(PROMPT) - 1
    assert [batch.prefills[0].num_tokens for batch in verifier.batches if batch.prefills] == [len(PROMPT), 1]
    assert verifier.core.stats().prefix_cache.num_hits == len(PROMPT) - 1
    assert verifier.core.stats().prefix_cache.num_tokens == len(PROMPT) + 19  # the same text is not kept twice


@pytest.mark.parametrize(("sharing", "num_cached"), [("client", 0), ("all", len(PROMPT) - 1)])
def test_clients_see_each_others_texts_only_if_configured(sharing: str, num_cached: int) -> None:
    verifier = VirtualVerifier(VerifierCoreConfig(prefix_sharing=sharing))
    answer(verifier, verifier.welcome("one"), target_only(1, PROMPT))
    assert answer(verifier, verifier.welcome("other"), target_only(1, PROMPT)) == num_cached


def test_without_a_prefix_cache_nothing_is_kept() -> None:
    verifier = VirtualVerifier(VerifierCoreConfig(prefix_cache_tokens=0))
    conn = verifier.welcome("edge")
    assert [answer(verifier, conn, target_only(stream, PROMPT)) for stream in (1, 2)] == [0, 0]
    assert verifier.engine.num_retained == 0


def test_the_cache_keeps_to_its_limit_and_drops_the_least_recently_used() -> None:
    verifier = VirtualVerifier(VerifierCoreConfig(prefix_cache_tokens=130))
    conn = verifier.welcome("edge")
    prompts = [[first] * 40 for first in (1, 2, 3)]
    for stream, i in enumerate((0, 1, 0, 2)):  # 59 tokens each: the second is the least recently used
        answer(verifier, conn, target_only(stream, prompts[i]))
    verifier.step_until_idle()
    assert verifier.engine.num_retained == verifier.core.stats().prefix_cache.num_tokens == 118
    assert answer(verifier, conn, target_only(8, prompts[0])) == 39
    assert answer(verifier, conn, target_only(9, prompts[1])) == 0
    assert verifier.core.stats().prefix_cache.num_evictions == 2


def test_an_open_stream_takes_the_memory_of_the_cache() -> None:
    verifier = VirtualVerifier(info=toy_info(kv_capacity=100))
    conn = verifier.welcome("edge")
    answer(verifier, conn, target_only(1, PROMPT))
    assert answer(verifier, conn, target_only(2, [9] * 80)) == 0
    assert verifier.core.stats().prefix_cache.num_evictions == 1
    assert answer(verifier, conn, target_only(3, PROMPT)) == 0


def test_what_a_stream_is_opened_from_is_dropped_after_that() -> None:
    """The second stream shares the first's prompt; the third needs what is left of the first."""
    verifier = VirtualVerifier(info=toy_info(kv_capacity=100))
    conn = verifier.welcome("edge")
    answer(verifier, conn, target_only(1, PROMPT))
    for request in (target_only(2, PROMPT, 10), target_only(3, [9] * 45, 5)):
        verifier.deliver(conn, request)
    verifier.step()
    kinds = [type(update) for update in verifier.batches[-1].updates]
    assert kinds == [OpenStream, OpenStream, DropPrefix]
    verifier.step_until_idle()
    load = verifier.core.stats().load
    assert (load.open_streams, load.queued_streams, load.kv_used) == (0, 0, 0)


def test_what_open_streams_share_counts_once() -> None:
    verifier = VirtualVerifier(info=toy_info(kv_capacity=1024, kv_block=16))
    conn = verifier.welcome("edge")
    prompt = [i % 200 for i in range(160)]
    verifier.deliver(conn, target_only(1, prompt))
    verifier.step()
    verifier.step()
    alone = verifier.core.stats().load.kv_used
    assert cached_tokens(verifier.deliver(conn, target_only(2, prompt))) == [159]
    assert verifier.core.stats().load.kv_used == alone + 16
    verifier.step()
    assert verifier.engine.num_reserved == verifier.core.stats().load.kv_used
    verifier.step_until_idle()
    assert verifier.core.stats().load.kv_used == 0


def test_a_cache_that_is_off_shares_nothing_of_open_streams() -> None:
    verifier = VirtualVerifier(VerifierCoreConfig(prefix_cache_tokens=0), toy_info(kv_block=16))
    conn = verifier.welcome("edge")
    verifier.deliver(conn, target_only(1, PROMPT * 4))
    verifier.step()
    assert cached_tokens(verifier.deliver(conn, target_only(2, PROMPT * 4))) == [
        0
    ]  # a cache that is off shares nothing
    verifier.step_until_idle()
    assert verifier.engine.num_reserved == 0


def test_a_cancelled_stream_is_kept_up_to_what_was_committed() -> None:
    verifier = VirtualVerifier()
    conn = verifier.welcome("edge")
    verifier.deliver(conn, target_only(1, PROMPT))
    for _ in range(4):
        verifier.step()
    verifier.deliver(conn, Cancel(1, 0))
    verifier.step_until_idle()
    assert verifier.engine.num_retained == len(PROMPT) + 3
    text = target_only_text(target_only(1, PROMPT))
    assert answer(verifier, conn, target_only(2, text)) == len(PROMPT) + 3


def test_a_prefix_that_was_not_completely_read_is_not_kept() -> None:
    verifier = VirtualVerifier(VerifierCoreConfig(prefill_chunk=32))
    conn = verifier.welcome("edge")
    verifier.deliver(conn, target_only(1, PROMPT))
    assert verifier.step()
    verifier.deliver(conn, Cancel(1, 0))
    assert answer(verifier, conn, target_only(2, PROMPT)) == 0


def test_what_an_engine_that_failed_holds_is_not_used() -> None:
    verifier = VirtualVerifier()
    conn = verifier.welcome("edge")
    verifier.deliver(conn, target_only(1, PROMPT))
    verifier.step()
    batch = verifier.core.next_batch(verifier.now)
    assert batch
    verifier.core.on_failed(batch, "planted", verifier.now)
    assert answer(verifier, conn, target_only(2, PROMPT)) == 0


def test_a_shutdown_frees_what_is_kept() -> None:
    verifier = VirtualVerifier()
    answer(verifier, verifier.welcome("edge"), target_only(1, PROMPT))
    verifier.core.on_shutdown(verifier.now)
    verifier.step_until_idle()
    assert verifier.core.stats().prefix_cache.num_tokens == verifier.engine.num_retained == 0


def test_a_cached_prompt_is_no_work_in_the_baseline() -> None:
    """The second answer's baseline is about its own time, though it began with a long prompt."""
    verifier = VirtualVerifier(step_s=lambda num_tokens: 0.001 * num_tokens)
    drafter = VirtualDrafter(verifier, "edge", 0.0)
    for stream in (1, 2, 3):
        drafter.open(target_only(stream, PROMPT * 20))
        verifier.run(10.0)
    last = drafter.last_verdicts[3]
    assert last.elapsed_us
    assert last.baseline_us
    assert last.elapsed_us < 30_000
    assert last.baseline_us == pytest.approx(last.elapsed_us, rel=0.05)


def test_equal_hashes_of_unequal_texts_do_no_harm() -> None:
    """hash(-1) == hash(-2) in CPython, so these texts have equal hashes in every block."""
    ledger = KvLedger(toy_info())
    cache = PrefixCache(1000, is_shared=False, ledger=ledger, outbox=VerifierOutbox())
    ledger.open(1, None)
    ledger.grow(1, 40)
    cache.retain(1, "edge", [5] * 20 + [-1] * 20)
    assert cache.find("edge", [5] * 20 + [-2] * 20) == CachedPrefix(1, 20)


def test_a_prompt_in_chunks_starts_after_what_is_cached() -> None:
    verifier = VirtualVerifier(VerifierCoreConfig(prefill_chunk=32))
    conn = verifier.welcome("edge")
    answer(verifier, conn, target_only(1, PROMPT))
    num_batches = len(verifier.batches)
    answer(verifier, conn, target_only(2, (*PROMPT, *range(100, 160))))
    assert [batch.prefills for batch in verifier.batches[num_batches:] if batch.prefills] == [
        (Prefill(2, 32),),
        (Prefill(2, 28),),
    ]

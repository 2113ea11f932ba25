"""A stream with a cached prefix writes the same text and the same log-probabilities, to the bit."""

import dataclasses
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.calibration import Calibration
from goodspeed.engine.hybrid import DraftKnowledge, HybridDraft
from goodspeed.engine.interface import CachedPrefix, Outcome, Prefill, StreamSpec, Verify
from goodspeed.engine.lookup import LookupSource
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.torch.loading import load_target
from goodspeed.engine.torch.target import TorchTarget
from goodspeed.protocol.messages import Cancel
from goodspeed.testing.virtual_verifier import VirtualDrafter, VirtualEngines, VirtualVerifier, open_request
from goodspeed.verifier.core.core_config import VerifierCoreConfig

GREEDY = Sampling()
COUPLED = Sampling(temperature=0.9, top_p=0.95, seed=7, rule=Rule.COUPLED)
COLD = Sampling(temperature=0.05, seed=7, rule=Rule.COUPLED)
PROMPT = tuple(range(3, 140))


@pytest.fixture(scope="module", params=["fp32", "bf16"])
def target(request: pytest.FixtureRequest, random_checkpoint: Callable[..., Path]) -> TorchTarget:
    folder = str(random_checkpoint("qwen3"))
    loaded = load_target(TargetConfig(model=folder, dtype=request.param, device="cpu", threads=1, kv_memory_mb=1))
    assert loaded.is_batch_invariant
    info = dataclasses.replace(loaded.info, tokenizer_fingerprint="toy")  # that of virtual drafters
    return TorchTarget(loaded.decoder, info, loaded.is_batch_invariant)


def written(
    target: TorchTarget, key: int, tokens: Sequence[int], sampling: Sampling, prefix: CachedPrefix | None = None
) -> list[Outcome]:
    """A prefill of the tokens that are not cached, and 12 rounds with drafts that are seldom right."""
    spec = StreamSpec(tuple(tokens), sampling, len(tokens) + 100, logprobs=True, prefix=prefix)
    target.open(key, spec)
    outcomes = target.step([Prefill(key, len(tokens) - (prefix.num_tokens if prefix else 0))])
    rng = random.Random(0)
    for _ in range(12):
        draft = [rng.randrange(2, target.info.vocab_size) for _ in range(rng.randrange(6))]
        outcomes += target.step([Verify(key, tuple(draft))])
    return [replace(outcome, stream=0) for outcome in outcomes]


def text(tokens: Sequence[int], outcomes: Sequence[Outcome]) -> list[int]:
    """Of rounds in which no draft token was right."""
    assert not any(outcome.num_accepted for outcome in outcomes)
    return [*tokens, *[outcome.next_token or 0 for outcome in outcomes]]


@pytest.mark.parametrize("sampling", [GREEDY, COUPLED], ids=["greedy", "coupled"])
def test_prompt_and_answer_of_a_retained_stream_are_as_good_as_read_again(
    target: TorchTarget, sampling: Sampling
) -> None:
    """The keys and values of the answer were written by rounds of several tokens, whose drafts were rejected."""
    whole = text(PROMPT, written(target, 1, PROMPT, sampling))
    following = (*whole, 5, 6, 7)
    expected = written(target, 2, following, sampling)
    target.retain(1, len(whole) - 1)
    for key, num_tokens in ((3, len(whole) - 1), (4, len(PROMPT) + 3), (5, 1)):
        assert written(target, key, following, sampling, CachedPrefix(1, num_tokens)) == expected
    for key in (1, 2, 3, 4, 5):
        target.close(key)
    assert (target.num_open, target.num_reserved) == (0, 0)


def test_keys_and_values_of_another_text_are_noticed(target: TorchTarget) -> None:
    """The planted bug: the cached prefix has one token that is not the stream's."""
    wrong = list(PROMPT)
    wrong[60] += 1
    written(target, 1, wrong, GREEDY)
    expected = written(target, 2, PROMPT, GREEDY)
    target.retain(1, len(PROMPT))
    assert written(target, 3, PROMPT, GREEDY, CachedPrefix(1, len(PROMPT) - 1)) != expected
    for key in (1, 2, 3):
        target.close(key)


@pytest.mark.parametrize("sampling", [GREEDY, COUPLED], ids=["greedy", "coupled"])
def test_a_stream_that_was_preempted_is_continued_from_the_blocks_that_are_left(
    target: TorchTarget, sampling: Sampling
) -> None:
    """It is opened with all that is committed; the last token is left to the first verification."""
    whole = text(PROMPT, written(target, 1, PROMPT, sampling))
    drafts = [(5, 9, 13), (), (whole[3],), (2, 2)]
    spec = StreamSpec(PROMPT, sampling, 400, logprobs=True)
    target.open(2, spec)
    target.step([Prefill(2, len(PROMPT))])
    for _ in range(len(whole) - len(PROMPT) - 1):
        target.step([Verify(2, ())])
    expected = [replace(target.step([Verify(2, draft)])[0], stream=0) for draft in drafts]
    target.retain(1, len(whole) - 1)
    for key, num_cached in ((3, 0), (4, 70), (5, len(whole) - 1)):
        prefix = CachedPrefix(1, num_cached) if num_cached else None
        target.open(key, dataclasses.replace(spec, tokens=tuple(whole), prefix=prefix))
        if num_cached < len(whole) - 1:
            assert target.step([Prefill(key, len(whole) - 1 - num_cached)]) == [Outcome(key, 0, None)]
        assert [replace(target.step([Verify(key, draft)])[0], stream=0) for draft in drafts] == expected
    for key in (1, 2, 3, 4, 5):
        target.close(key)
    assert target.num_reserved == 0


def test_a_prefix_of_an_open_stream_is_shared_and_both_go_on(target: TorchTarget) -> None:
    expected = written(target, 1, PROMPT, GREEDY)
    target.close(1)
    target.open(2, StreamSpec(PROMPT, GREEDY, 400, logprobs=True))
    target.step([Prefill(2, len(PROMPT))])
    alone = target.num_reserved
    assert written(target, 3, PROMPT, GREEDY, CachedPrefix(2, len(PROMPT) - 1)) == expected
    assert target.num_reserved < 2 * alone
    assert [target.step([Verify(2, ())])[0].next_token for _ in range(12)] == [one.next_token for one in expected[1:]]
    for key in (2, 3):
        target.close(key)
    assert target.num_reserved == 0


@pytest.mark.parametrize("sampling", [GREEDY, COLD], ids=["greedy", "coupled"])
def test_conversations_in_a_cache_that_is_too_small_are_those_without_a_cache(
    target: TorchTarget, sampling: Sampling
) -> None:
    """Two clients, three conversations each; every client loses its link, and some answers are cancelled and repeated.

    The drafts are looked up in the text, so that rounds accept and reject tokens.
    """
    texts = {}
    for num_tokens in (0, 400):
        verifier = VirtualVerifier(
            VerifierCoreConfig(prefix_cache_tokens=num_tokens, budget=32, time_price=0.0, scheduler="fixed"),
            engines=VirtualEngines(target),
        )
        texts[num_tokens] = [converse(verifier, f"client {i}", sampling) for i in range(2)]
        stats = verifier.core.stats().prefix_cache
        assert (stats.num_hits > 1000) == (num_tokens > 0)
        assert (stats.num_evictions > 5) == (num_tokens > 0)
        assert sum(client.num_accepted for client in verifier.core.stats().clients) > 50
        verifier.core.on_shutdown(verifier.now)
        verifier.step_until_idle()
        assert target.num_reserved == 0
    assert texts[0] == texts[400]


def converse(verifier: VirtualVerifier, name: str, sampling: Sampling) -> list[list[int]]:
    """The texts of three conversations of five turns, side by side."""
    drafter = VirtualDrafter(verifier, name, HybridDraft(DraftKnowledge([LookupSource()], Calibration())))
    prompts = [[10 * i + len(name) + j for j in range(25)] for i in range(3)]
    for turn in range(5):
        requests = [open_request(3 * turn + i, prompt, 24, sampling) for i, prompt in enumerate(prompts)]
        for request in requests:
            drafter.open(request)
        verifier.run(0.05)
        drafter.reconnect(name)
        conn = verifier.welcome(f"{name} again")
        verifier.deliver(conn, replace(requests[0], stream=99))
        verifier.run(0.05)
        verifier.deliver(conn, Cancel(99, 0))
        verifier.run(20.0)
        prompts = [[*drafter.texts[request.stream], 7, turn] for request in requests]
    return prompts

"""Penalties, biases and exclusions belong to the target: text does not depend on drafter, window, mode or link."""

import asyncio
from dataclasses import replace

import pytest
from tests.drafter.live import LiveVerifier, drafter_at, read

from goodspeed.decoding.logit_changes import BadWord, LogitChanges, TokenBias
from goodspeed.decoding.mode import Mode
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.drafter.core.core_config import DrafterCoreConfig
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.engine.reference import ReferenceRequest, generate
from goodspeed.engine.toy_model import END_TOKEN, ToyModel
from goodspeed.protocol.link_config import LinkConfig
from goodspeed.testing.virtual_drafter import target_only_tokens
from goodspeed.windows.policies import WindowConfig

E, T = ord("e"), ord("t")
CHANGES = [
    LogitChanges(repetition_penalty=1.5),
    LogitChanges(frequency_penalty=1.0),
    LogitChanges(presence_penalty=2.0),
    LogitChanges(presence_penalty=-2.0),
    LogitChanges(logit_bias=(TokenBias(E, 4.0), TokenBias(T, -100.0))),
    LogitChanges(logit_bias=(TokenBias(END_TOKEN, 12.0),), min_tokens=25),
    LogitChanges(bad_words=(BadWord((E,)), BadWord((T, ord("a"))))),
    LogitChanges(allowed_tokens=tuple(b"aeiou ")),
    LogitChanges(1.2, 0.5, -0.5, (TokenBias(E, 3.0),), 5, (BadWord((T,)),), tuple(range(97, 123))),
]
SAMPLINGS = [Sampling(), Sampling(0.8, 30, 0.95, 11, Rule.COUPLED, 0.02)]
REQUESTS = [
    GenerationRequest(tuple(b"the tree"), 40, replace(sampling, logit_changes=changes), (END_TOKEN,))
    for sampling in SAMPLINGS
    for changes in CHANGES
]


def test_what_the_tests_compare_with_is_the_reference() -> None:
    for request in REQUESTS:
        reference = ReferenceRequest(request.tokens, request.max_tokens, request.sampling, request.end_tokens)
        assert tuple(target_only_tokens(request)) == generate(ToyModel(), reference)


def test_every_change_changes_the_text() -> None:
    for request in REQUESTS:
        unchanged = replace(request, sampling=replace(request.sampling, logit_changes=None))
        assert target_only_tokens(request) != target_only_tokens(unchanged), request


@pytest.mark.parametrize("window", range(9))
async def test_changed_text_is_the_targets_own_at_every_window(window: int) -> None:
    fixed = DrafterCoreConfig(window=WindowConfig("fixed", window))
    async with LiveVerifier().running() as verifier, drafter_at([verifier], fixed) as drafter:
        answers = await asyncio.gather(*(read(drafter, request) for request in REQUESTS))
        assert answers == [target_only_tokens(request) for request in REQUESTS]
        with drafter.generate(REQUESTS[0]) as answer:
            num_tokens = sum([len(committed.tokens) async for committed in answer])
        (stats,) = answer.stats
        assert (len(stats.rounds) < num_tokens) == (window > 0)


@pytest.mark.parametrize("mode", [Mode.CO_LOCATED, Mode.TARGET_ONLY])
async def test_changed_text_is_the_same_in_every_mode(mode: Mode) -> None:
    async with LiveVerifier().running() as verifier, drafter_at([verifier]) as drafter:
        for request in REQUESTS:
            assert await read(drafter, replace(request, mode=mode)) == target_only_tokens(request)


async def test_changed_text_continues_after_a_cut_link() -> None:
    """The resumed stream counts the tokens of the answer so far."""
    request = replace(REQUESTS[-1], max_tokens=80)
    async with LiveVerifier().running() as verifier, drafter_at([verifier], link=LinkConfig(rtt_ms=2.0)) as drafter:
        with drafter.generate(request) as answer:
            tokens: list[int] = []
            async for committed in answer:
                is_first_half = len(tokens) < 40
                tokens.extend(committed.tokens)
                if is_first_half and len(tokens) >= 40:
                    verifier.transport.cut()
        assert tokens == target_only_tokens(request)

"""A constrained answer is continued only by a verifier that would write the same text."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.drafter.live import LiveVerifier, drafter_at

from goodspeed.decoding.constraint import Constraint, ConstraintKind
from goodspeed.decoding.sampling import Sampling
from goodspeed.drafter.core.core_config import DrafterCoreConfig, RetryConfig
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.drafter.server import DrafterServer
from goodspeed.engine.grammar.compiler import GrammarCompiler
from goodspeed.engine.toy_model import END_TOKEN
from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.errors import GoodSpeedError
from goodspeed.models.tokenizer import Tokenizer

LONG = Constraint(ConstraintKind.REGEX, "[a-c ]{200}")
PLAIN = GenerationRequest(tuple(b"the quick"), 200, end_tokens=(END_TOKEN,))
CONSTRAINED = replace(PLAIN, sampling=Sampling(constraint=LONG), max_tokens=250)


class OtherGrammars(GrammarCompiler):
    """Those of another release."""

    @property
    def version(self) -> str:
        return "llguidance 0.1"


@contextlib.asynccontextmanager
async def two_verifiers(
    tokenizer: Tokenizer, second: type[GrammarCompiler]
) -> AsyncIterator[tuple[DrafterServer, LiveVerifier]]:
    """A drafter whose answers begin at the verifier that is returned."""
    config = DrafterCoreConfig(retry=RetryConfig(give_up_s=0.5))
    async with contextlib.AsyncExitStack() as stack:
        verifiers = []
        for kind in (GrammarCompiler, second):
            grammars = kind(tokenizer.to_json(), tokenizer.vocab_size, (END_TOKEN,))
            live = LiveVerifier(ToyTarget(toy_info(), grammars=grammars))
            verifiers.append(await stack.enter_async_context(live.running()))
        yield await stack.enter_async_context(drafter_at(verifiers, config)), verifiers[0]


async def read_while_the_first_stops(drafter: DrafterServer, first: LiveVerifier, request: GenerationRequest) -> int:
    """Tokens of the answer, whose first verifier stops after 20."""
    num_tokens = 0
    with drafter.generate(request) as answer:
        async for committed in answer:
            num_tokens += len(committed.tokens)
            if num_tokens > 20:
                await first.server.close()
    return num_tokens


async def test_a_verifier_with_equal_grammars_continues_a_constrained_answer(tokenizer: Tokenizer) -> None:
    async with two_verifiers(tokenizer, GrammarCompiler) as (drafter, first):
        assert await read_while_the_first_stops(drafter, first, CONSTRAINED) == 201


async def test_a_verifier_with_other_grammars_continues_only_free_answers(tokenizer: Tokenizer) -> None:
    async with two_verifiers(tokenizer, OtherGrammars) as (drafter, first):
        assert await read_while_the_first_stops(drafter, first, PLAIN) == 200
    async with two_verifiers(tokenizer, OtherGrammars) as (drafter, first):
        with pytest.raises(GoodSpeedError):
            await read_while_the_first_stops(drafter, first, CONSTRAINED)

"""The draft server with several real verification servers at once: in-process and over gRPC."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace

import pytest
from tests.drafter.live import LiveVerifier, drafter_at, read, running_drafter, until

from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.drafter.core.core_config import DrafterCoreConfig
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.drafter.server import DrafterServer
from goodspeed.drafter.uplink import VerifierEndpoint
from goodspeed.errors import LinkLostError
from goodspeed.protocol.grpc_client import grpc_connect
from goodspeed.protocol.grpc_config import GrpcClientConfig, GrpcServerConfig
from goodspeed.protocol.grpc_server import serve_grpc
from goodspeed.protocol.link_config import LinkConfig
from goodspeed.protocol.messages import PROTOCOL_VERSION, Hello
from goodspeed.protocol.transport import Connection
from goodspeed.testing.virtual_drafter import target_only_tokens
from goodspeed.verifier.core.core_config import VerifierCoreConfig

Transport = Callable[[Sequence[LiveVerifier], contextlib.AsyncExitStack], Awaitable[list[VerifierEndpoint]]]

REQUEST = GenerationRequest(tuple(b"the quick brown"), 240, Sampling(0.7, seed=11, rule=Rule.COUPLED))
ROUND_ROBIN = DrafterCoreConfig(routing="round_robin")


def named(*names: str) -> list[LiveVerifier]:
    return [LiveVerifier(config=VerifierCoreConfig(name=name)) for name in names]


def ups(drafter: DrafterServer) -> list[float]:
    """Whether each verifier is up, as /metrics reports it."""
    metrics = drafter.metrics.registry.collect()
    return [sample.value for m in metrics for sample in m.samples if sample.name == "goodspeed_drafter_verifier_up"]


async def in_process(verifiers: Sequence[LiveVerifier], _stack: contextlib.AsyncExitStack) -> list[VerifierEndpoint]:
    link = LinkConfig(rtt_ms=2.0)
    return [VerifierEndpoint(f"v{i}", verifier.transport.connector(link)) for i, verifier in enumerate(verifiers)]


async def over_grpc(verifiers: Sequence[LiveVerifier], stack: contextlib.AsyncExitStack) -> list[VerifierEndpoint]:
    known = []
    for verifier in verifiers:
        listener = await serve_grpc(verifier.server.serve, GrpcServerConfig(port=0))
        stack.push_async_callback(listener.stop, 0.1)
        address = f"127.0.0.1:{listener.port}"
        known.append(VerifierEndpoint(address, grpc_connect(address, GrpcClientConfig())))
    return known


@contextlib.asynccontextmanager
async def three_running() -> AsyncIterator[tuple[list[LiveVerifier], list[contextlib.AsyncExitStack]]]:
    """Verifiers, and for each the stack whose closing shuts it down."""
    async with contextlib.AsyncExitStack() as everything:
        verifiers = named("a", "b", "c")
        stacks = [await everything.enter_async_context(contextlib.AsyncExitStack()) for _ in verifiers]
        for verifier, stack in zip(verifiers, stacks, strict=True):
            await stack.enter_async_context(verifier.running())
        yield verifiers, stacks


@pytest.mark.parametrize("transport", [in_process, over_grpc])
async def test_streams_spread_and_continue_elsewhere_when_their_verifier_is_killed(transport: Transport) -> None:
    requests = [replace(REQUEST, sampling=replace(REQUEST.sampling, seed=i)) for i in range(9)]
    async with three_running() as (verifiers, stacks), contextlib.AsyncExitStack() as listeners:
        known = await transport(verifiers, listeners)
        hello = Hello(PROTOCOL_VERSION, "drafter", "toy")
        async with running_drafter(known, hello, ROUND_ROBIN) as drafter:
            await until(lambda: ups(drafter) == [1, 1, 1])
            answers = [asyncio.create_task(read(drafter, request)) for request in requests]
            for verifier in verifiers:
                await verifier.occupied()
            assert [verifier.engine.num_open for verifier in verifiers] == [3, 3, 3]
            await stacks[1].aclose()
            assert await asyncio.gather(*answers) == [target_only_tokens(request) for request in requests]
            await until(lambda: ups(drafter) == [1, 0, 1])
            await verifiers[0].drained()
            await verifiers[2].drained()


async def test_answer_names_the_verifier_that_wrote_it() -> None:
    first, second = named("a", "b")
    async with first.running(), second.running(), drafter_at([first, second], ROUND_ROBIN) as drafter:
        await until(lambda: ups(drafter) == [1, 1])
        names = set()
        for _ in range(2):
            with drafter.generate(replace(REQUEST, max_tokens=8)) as answer:
                async for _committed in answer:
                    pass
            names.add(answer.stats[0].verifier)
        assert names == {"a", "b"}


async def test_verifier_that_comes_later_is_used() -> None:
    early, late = named("early", "late")

    async def connect() -> Connection:
        if not hasattr(late, "transport"):
            raise LinkLostError("no answer")
        return await late.transport.connector()()

    async with early.running():
        known = [VerifierEndpoint("early", early.transport.connector()), VerifierEndpoint("late", connect)]
        hello = Hello(PROTOCOL_VERSION, "drafter", "toy")
        async with running_drafter(known, hello, ROUND_ROBIN) as drafter:
            assert await read(drafter, REQUEST) == target_only_tokens(REQUEST)
            assert ups(drafter) == [1, 0]
            async with late.running():
                await until(lambda: ups(drafter) == [1, 1])
                answers = await asyncio.gather(*(read(drafter, REQUEST) for _ in range(2)))
                assert answers == [target_only_tokens(REQUEST)] * 2
                assert late.engine.num_open == 0


async def test_failover_dials_one_verifier_only() -> None:
    first, second = named("a", "b")
    async with first.running(), second.running(), drafter_at([first, second]) as drafter:
        assert await read(drafter, REQUEST) == target_only_tokens(REQUEST)
        assert ups(drafter) == [1, 0]


async def test_slow_link_to_one_verifier_does_not_hold_up_the_other() -> None:
    far, near = named("far", "near")
    async with far.running(), near.running():
        known = [
            VerifierEndpoint("far", far.transport.connector(LinkConfig(rtt_ms=4000.0))),
            VerifierEndpoint("near", near.transport.connector(None)),
        ]
        hello = Hello(PROTOCOL_VERSION, "drafter", "toy")
        async with running_drafter(known, hello, DrafterCoreConfig(routing="random")) as drafter:
            assert await read(drafter, REQUEST) == target_only_tokens(REQUEST)
            assert ups(drafter) == [0, 1]

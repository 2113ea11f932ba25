"""Are the decisions of a live run those of the cores alone? Event logs of real servers, replayed.

Four drafters in one process write real prompts through real verification servers, over links with jitter; one of them
is lost for a second in mid-stream, and back. Every core's log is then told to a fresh core: all decisions must be the
same. At last one line of a policy is changed (each of PLANTED in turn), and the replay must find it.

    python -m runs.decision_parity --verifiers 2 --routing jsq --json results/decision_parity.json

A minute and a half on 2 cores.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from unittest import mock

from rich.progress import Progress

from goodspeed.commands.replay import Replayed, replay_file
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.drafter.core.core_config import DrafterCoreConfig as DrafterConfig
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.drafter.draft_runner import InlineDraftRunner
from goodspeed.drafter.event_logging import LoggedDrafterCore
from goodspeed.drafter.server import DrafterServer
from goodspeed.drafter.uplink import VerifierEndpoint
from goodspeed.engine.drafts import DraftConfig, draft_engine
from goodspeed.engine.interface import TargetEngine
from goodspeed.engine.target_config import TargetConfig
from goodspeed.errors import LinkLostError
from goodspeed.models.catalog import locate
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.prompts.prompts import DOMAINS, load_prompts
from goodspeed.protocol.inprocess import InProcessTransport
from goodspeed.protocol.link_config import LinkConfig
from goodspeed.protocol.messages import PROTOCOL_VERSION, Hello, Mode
from goodspeed.protocol.transport import Connection
from goodspeed.records.event_log import JsonlEventLog
from goodspeed.routing.policies import ONE_AT_A_TIME, ROUTINGS
from goodspeed.verifier.core.batching.barrier import BarrierBatching
from goodspeed.verifier.core.batching.deadline import DeadlineBatching
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.server import VerifierServer, new_engine_thread
from goodspeed.windows.confidence import ConfidenceWindow
from goodspeed.windows.window_policy import Window

NUM_DRAFTERS = 4
JITTER = LinkConfig(rtt_ms=10.0, jitter=0.5)
STREAMS_PER_DRAFTER = 2


@dataclass(frozen=True, slots=True)
class Scene:
    """What is run live."""

    targets: Sequence[TargetEngine]  # one a verifier
    threads: Sequence[ThreadPoolExecutor]  # that loaded them
    requests: Sequence[GenerationRequest]
    verifier: VerifierCoreConfig
    drafter: DrafterConfig
    lost_s: float = 1.0
    """How long drafter 0 is without its links, once a third of the requests are answered."""


class Wire:
    """One drafter's way to one verifier, which can be broken for a while."""

    def __init__(self, server: VerifierServer, seed: int) -> None:
        self.network = InProcessTransport(server.serve)
        self.is_broken = False
        self._connect = self.network.connector(JITTER, seed)

    async def connect(self) -> Connection:
        if self.is_broken:
            raise LinkLostError("the wire is broken")
        return await self._connect()

    def break_(self) -> None:
        self.is_broken = True
        self.network.cut()


async def record(scene: Scene, folder: Path) -> list[Path]:
    """Run the scene; the event logs of all cores."""
    logs = [folder / f"verifier{i}.jsonl" for i in range(len(scene.targets))]
    logs += [folder / f"drafter{i}.jsonl" for i in range(NUM_DRAFTERS)]
    async with contextlib.AsyncExitStack() as stack:
        events = [JsonlEventLog(log) for log in logs]
        for log_events in events:
            stack.callback(log_events.close)
        servers = [await stack.enter_async_context(_verifier(scene, i, events[i])) for i in range(len(scene.targets))]
        wires = [[Wire(server, 8 * i + j) for j, server in enumerate(servers)] for i in range(NUM_DRAFTERS)]
        for wire in itertools.chain.from_iterable(wires):
            stack.push_async_callback(wire.network.close)
        drafters = [
            await stack.enter_async_context(_drafter(scene, i, wires[i], events[len(servers) + i]))
            for i in range(NUM_DRAFTERS)
        ]
        await _ask_all(scene, drafters, wires[0])
    return logs


@contextlib.asynccontextmanager
async def _verifier(scene: Scene, number: int, events: JsonlEventLog) -> AsyncIterator[VerifierServer]:
    server = VerifierServer(scene.verifier, scene.targets[number], events, scene.threads[number])
    running = asyncio.create_task(server.run())
    try:
        yield server
    finally:
        await server.close()
        await running


@contextlib.asynccontextmanager
async def _drafter(
    scene: Scene, number: int, wires: Sequence[Wire], events: JsonlEventLog
) -> AsyncIterator[DrafterServer]:
    info = scene.targets[0].info
    core = LoggedDrafterCore(scene.drafter, number, events, time.monotonic())
    hello = Hello(PROTOCOL_VERSION, f"drafter{number}", info.tokenizer_fingerprint)
    drafting = InlineDraftRunner(draft_engine(DraftConfig(engine="hybrid"), info.vocab_size))
    server = DrafterServer(
        core, drafting, hello, [VerifierEndpoint(f"v{i}", wire.connect) for i, wire in enumerate(wires)]
    )
    running = asyncio.create_task(server.run())
    try:
        await server.meet(30.0)
        yield server
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _ask_all(scene: Scene, drafters: Sequence[DrafterServer], lost: Sequence[Wire]) -> None:
    """All requests, by whoever is free; the lost drafter's answers go on when it is back."""
    waiting = deque(scene.requests)
    is_under_way = asyncio.Event()

    async def ask(drafter: DrafterServer) -> None:
        while waiting:
            request = waiting.popleft()
            if 3 * len(waiting) <= 2 * len(scene.requests):
                is_under_way.set()
            with drafter.generate(request) as answer:
                async for _ in answer:
                    pass

    async def lose() -> None:
        await is_under_way.wait()
        for wire in lost:
            wire.break_()
        await asyncio.sleep(scene.lost_s)
        for wire in lost:
            wire.is_broken = False

    await asyncio.gather(lose(), *(ask(drafter) for drafter in drafters for _ in range(STREAMS_PER_DRAFTER)))


def replay_all(logs: Sequence[Path]) -> list[Replayed]:
    """What replaying each log brings."""
    with Progress(transient=True) as progress:
        return [replay_file(log, progress) for log in logs]


def longer_barrier() -> contextlib.AbstractContextManager[object]:
    """The barrier waits a microsecond longer."""
    honest = BarrierBatching.close_at
    return mock.patch.object(
        BarrierBatching, "close_at", lambda *args: honest(*args) + 1e-6 * (honest(*args) > args[2])
    )


def hasty_deadline() -> contextlib.AbstractContextManager[object]:
    """The deadline policy never waits."""
    return mock.patch.object(DeadlineBatching, "close_at", lambda _self, _waiting, now: now)


def shorter_window() -> contextlib.AbstractContextManager[object]:
    """The confidence window is a token shorter where it is longer than 3."""
    honest = ConfidenceWindow.next_window

    def next_window(*args: object) -> Window:
        window = honest(*args)  # type: ignore[arg-type]
        return Window(window.max_tokens - (window.max_tokens > 3), window.min_survival)

    return mock.patch.object(ConfidenceWindow, "next_window", next_window)


def always_last(routing: str) -> contextlib.AbstractContextManager[object]:
    """The routing policy picks the last verifier that it may."""
    kind = type(ROUTINGS[routing]())
    return mock.patch.object(kind, "pick", lambda _self, candidates, _rng: candidates[-1].index)


PLANTED: dict[str, Callable[[], contextlib.AbstractContextManager[object]]] = {
    "barrier": longer_barrier,
    "deadline": hasty_deadline,
    "confidence": shorter_window,
    **{routing: partial(always_last, routing) for routing in ROUTINGS if routing not in ONE_AT_A_TIME},
}
"""A changed line, by the policy that it is in."""


def make_requests(
    model: str, end_tokens: tuple[int, ...], num_requests: int, max_tokens: int
) -> list[GenerationRequest]:
    """Prompts of all domains in turn: greedy, sampled, and every fifth fused."""
    tokenizer = Tokenizer.load(locate(model))
    by_domain = zip(*(load_prompts(domain) for domain in DOMAINS), strict=False)
    prompts = itertools.islice(itertools.cycle(itertools.chain.from_iterable(by_domain)), num_requests)
    samplings = [Sampling(), Sampling(0.7, seed=1, rule=Rule.COUPLED), Sampling(1.0, seed=2, rule=Rule.REJECTION)]
    return [
        GenerationRequest(
            tuple(tokenizer.encode_chat([asdict(message) for message in prompt.messages])),
            max_tokens,
            samplings[i % 3],
            end_tokens,
            Mode.TARGET_ONLY if i % 5 == 4 else Mode.DISTRIBUTED,
        )
        for i, prompt in enumerate(prompts)
    ]


def make_scene(args: argparse.Namespace) -> Scene:
    """Real models."""
    from goodspeed.engine.torch.loading import load_target  # noqa: PLC0415

    threads = [new_engine_thread() for _ in range(args.verifiers)]
    config = TargetConfig(model=args.model, threads=max(1, 2 // args.verifiers))
    targets = [thread.submit(load_target, config).result() for thread in threads]
    requests = make_requests(args.model, targets[0].info.end_tokens, args.requests, args.max_tokens)
    return Scene(
        targets,
        threads,
        requests,
        VerifierCoreConfig(batching=args.batching),
        DrafterConfig(num_verifiers=args.verifiers, routing=args.routing),
    )


def main() -> int:
    """Record, replay, plant; exit code 1 if a decision differs, or a planted difference is not found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--requests", type=int, default=32)
    parser.add_argument("--max-tokens", type=int, default=48)
    parser.add_argument("--verifiers", type=int, default=1)
    parser.add_argument("--routing", default="failover")
    parser.add_argument("--batching", default="deadline")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        logs = asyncio.run(record(make_scene(args), Path(folder)))
        honest = replay_all(logs)
        planted = {}
        for name in (args.batching, "confidence", *([args.routing] if args.verifiers > 1 else [])):
            with PLANTED[name]():
                planted[name] = [one.decisions for one in replay_all(logs) if one.difference]
    for one in honest:
        print(f"{Path(one.log).name}: {one.decisions} decisions, {one.difference or 'same'}")
    for name, found in planted.items():
        print(f"planted in {name}: found in {len(found)} logs, at decision {found}")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({"honest": [asdict(one) for one in honest], "planted": planted}))
    return 1 if any(one.difference for one in honest) or not all(planted.values()) else 0


if __name__ == "__main__":
    sys.exit(main())

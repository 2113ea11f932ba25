"""Decision parity: event logs of real servers, replayed to fresh cores, must give the same decisions.

Four drafters in one process answer real prompts through real verifiers, over links with jitter. One drafter loses its
links for a second in mid-stream. Then every core's event log is replayed to a fresh core. Finally one line of a policy
is changed (each of PLANTED in turn), and the replay must detect it. Exit code 1: a decision differs, or a change is not
detected. A minute and a half on two cores; needs the target model.

    python -m runs.decision_parity --verifiers 2 --routing jsq --json results/decision_parity.json
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

from goodspeed.commands.replay import ReplayResult, replay_file
from goodspeed.decoding.mode import Mode
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
from goodspeed.protocol.messages import PROTOCOL_VERSION, Hello
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
class LiveScene:
    """A live run."""

    targets: Sequence[TargetEngine]  # one for each verifier
    threads: Sequence[ThreadPoolExecutor]  # that loaded the targets
    requests: Sequence[GenerationRequest]
    verifier: VerifierCoreConfig
    drafter: DrafterConfig
    lost_s: float = 1.0
    """How long drafter 0 has no links, once a third of the requests are answered."""


class BreakableLink:
    """The link of one drafter to one verifier, which can be broken for some time."""

    def __init__(self, server: VerifierServer, seed: int) -> None:
        self.network = InProcessTransport(server.serve)
        self.is_broken = False
        self._connect = self.network.connector(JITTER, seed)

    async def connect(self) -> Connection:
        if self.is_broken:
            raise LinkLostError("the link is broken")
        return await self._connect()

    def break_(self) -> None:
        self.is_broken = True
        self.network.cut()


async def record(scene: LiveScene, folder: Path) -> list[Path]:
    """Run the scene. Returns the event logs of all cores."""
    logs = [folder / f"verifier{i}.jsonl" for i in range(len(scene.targets))]
    logs += [folder / f"drafter{i}.jsonl" for i in range(NUM_DRAFTERS)]
    async with contextlib.AsyncExitStack() as stack:
        events = [JsonlEventLog(log) for log in logs]
        for log_events in events:
            stack.callback(log_events.close)
        servers = [await stack.enter_async_context(_verifier(scene, i, events[i])) for i in range(len(scene.targets))]
        links = [[BreakableLink(server, 8 * i + j) for j, server in enumerate(servers)] for i in range(NUM_DRAFTERS)]
        for link in itertools.chain.from_iterable(links):
            stack.push_async_callback(link.network.close)
        drafters = [
            await stack.enter_async_context(_drafter(scene, i, links[i], events[len(servers) + i]))
            for i in range(NUM_DRAFTERS)
        ]
        await _answer_all(scene, drafters, links[0])
    return logs


@contextlib.asynccontextmanager
async def _verifier(scene: LiveScene, number: int, events: JsonlEventLog) -> AsyncIterator[VerifierServer]:
    server = VerifierServer(scene.verifier, scene.targets[number], events, scene.threads[number])
    running = asyncio.create_task(server.run())
    try:
        yield server
    finally:
        await server.close()
        await running


@contextlib.asynccontextmanager
async def _drafter(
    scene: LiveScene, number: int, links: Sequence[BreakableLink], events: JsonlEventLog
) -> AsyncIterator[DrafterServer]:
    info = scene.targets[0].info
    core = LoggedDrafterCore(scene.drafter, number, events, time.monotonic())
    hello = Hello(PROTOCOL_VERSION, f"drafter{number}", info.tokenizer_fingerprint)
    drafting = InlineDraftRunner(draft_engine(DraftConfig(engine="hybrid"), info.vocab_size))
    server = DrafterServer(
        core, drafting, hello, [VerifierEndpoint(f"v{i}", link.connect) for i, link in enumerate(links)]
    )
    running = asyncio.create_task(server.run())
    try:
        await server.meet(30.0)
        yield server
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _answer_all(scene: LiveScene, drafters: Sequence[DrafterServer], lost: Sequence[BreakableLink]) -> None:
    """Answer all requests, each by the next free drafter. Drafter 0 resumes its answers when its links are back."""
    waiting = deque(scene.requests)
    is_third_done = asyncio.Event()

    async def answer_requests(drafter: DrafterServer) -> None:
        while waiting:
            request = waiting.popleft()
            if 3 * len(waiting) <= 2 * len(scene.requests):
                is_third_done.set()
            with drafter.generate(request) as answer:
                async for _ in answer:
                    pass

    async def break_links() -> None:
        await is_third_done.wait()
        for link in lost:
            link.break_()
        await asyncio.sleep(scene.lost_s)
        for link in lost:
            link.is_broken = False

    await asyncio.gather(
        break_links(), *(answer_requests(drafter) for drafter in drafters for _ in range(STREAMS_PER_DRAFTER))
    )


def replay_all(logs: Sequence[Path]) -> list[ReplayResult]:
    """Replay each log."""
    with Progress(transient=True) as progress:
        return [replay_file(log, progress) for log in logs]


def longer_barrier() -> contextlib.AbstractContextManager[object]:
    """Plants a barrier that waits a microsecond longer."""
    unchanged = BarrierBatching.close_at
    return mock.patch.object(
        BarrierBatching, "close_at", lambda *args: unchanged(*args) + 1e-6 * (unchanged(*args) > args[2])
    )


def eager_deadline() -> contextlib.AbstractContextManager[object]:
    """Plants a deadline policy that never waits."""
    return mock.patch.object(DeadlineBatching, "close_at", lambda _self, _waiting, now: now)


def shorter_window() -> contextlib.AbstractContextManager[object]:
    """Plants a confidence window that is one token shorter above 3."""
    unchanged = ConfidenceWindow.next_window

    def next_window(*args: object) -> Window:
        window = unchanged(*args)  # type: ignore[arg-type]
        return Window(window.max_tokens - (window.max_tokens > 3), window.min_survival)

    return mock.patch.object(ConfidenceWindow, "next_window", next_window)


def always_last(routing: str) -> contextlib.AbstractContextManager[object]:
    """Plants a routing policy that picks the last candidate."""
    kind = type(ROUTINGS[routing]())
    return mock.patch.object(kind, "pick", lambda _self, candidates, _rng: candidates[-1].index)


PLANTED: dict[str, Callable[[], contextlib.AbstractContextManager[object]]] = {
    "barrier": longer_barrier,
    "deadline": eager_deadline,
    "confidence": shorter_window,
    **{routing: partial(always_last, routing) for routing in ROUTINGS if routing not in ONE_AT_A_TIME},
}
"""Changes to plant, by the policy that they change."""


def make_requests(
    model: str, end_tokens: tuple[int, ...], num_requests: int, max_tokens: int
) -> list[GenerationRequest]:
    """Prompts of all domains in turn: greedy and sampled; every fifth in target-only mode."""
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


def make_scene(args: argparse.Namespace) -> LiveScene:
    """A scene with real models."""
    from goodspeed.engine.torch.loading import load_target  # noqa: PLC0415

    threads = [new_engine_thread() for _ in range(args.verifiers)]
    config = TargetConfig(model=args.model, threads=max(1, 2 // args.verifiers))
    targets = [thread.submit(load_target, config).result() for thread in threads]
    requests = make_requests(args.model, targets[0].info.end_tokens, args.requests, args.max_tokens)
    return LiveScene(
        targets,
        threads,
        requests,
        VerifierCoreConfig(batching=args.batching),
        DrafterConfig(num_verifiers=args.verifiers, routing=args.routing),
    )


def main() -> int:
    """Record, replay, plant. Returns the exit code."""
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
        unchanged = replay_all(logs)
        planted = {}
        for name in (args.batching, "confidence", *([args.routing] if args.verifiers > 1 else [])):
            with PLANTED[name]():
                planted[name] = [log.decisions for log in replay_all(logs) if log.difference]
    for log in unchanged:
        print(f"{Path(log.log).name}: {log.decisions} decisions, {log.difference or 'same'}")
    for name, decisions in planted.items():
        print(f"planted in {name}: detected in {len(decisions)} logs, at decision {decisions}")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({"unchanged": [asdict(log) for log in unchanged], "planted": planted}))
    return 1 if any(log.difference for log in unchanged) or not all(planted.values()) else 0


if __name__ == "__main__":
    sys.exit(main())

"""Exactness: distributed decoding generates the texts of the target-only baseline, token by token.

Four drafters with windows from 0 to 8 answer prompts at several temperatures (0: greedy; above: coupled), with deadline
batching and links with jitter, in one process. Random grants, many of them 0, switch the streams between remote,
co-located and target-only rounds. In each pass one drafter is killed in mid-stream and restarted, and its unfinished
requests are repeated. The baseline is the target with one stream and one token per step. Exit code 1: a text differs.
Ten minutes on two cores; needs the target model.

    python -m runs.exactness --dtype fp32 --prompts 64 --max-tokens 48 --json results/exactness.json
    python -m runs.exactness --engine llama_cpp --dtype auto --prompts 64 --max-tokens 48
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.drafter.core.core import DrafterCore
from goodspeed.drafter.core.core_config import DrafterCoreConfig as DrafterConfig
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.drafter.draft_runner import InlineDraftRunner
from goodspeed.drafter.server import DrafterServer
from goodspeed.drafter.uplink import VerifierEndpoint
from goodspeed.engine.co_located import CoLocatedConfig, co_located_drafts
from goodspeed.engine.drafts import DraftConfig, draft_engine
from goodspeed.engine.interface import TargetEngine
from goodspeed.engine.null_draft import NullDraft
from goodspeed.engine.reference import ReferenceRequest
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.targets import target_engine
from goodspeed.errors import LinkLostError
from goodspeed.lossless.pair import EnginePair, first_difference
from goodspeed.models.catalog import locate_tokenizer
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.prompts.prompts import DOMAINS, load_prompts
from goodspeed.protocol.inprocess import InProcessTransport
from goodspeed.protocol.link_config import LinkConfig
from goodspeed.protocol.messages import PROTOCOL_VERSION, Hello, RoundMode
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.server import VerifierServer
from goodspeed.windows.policies import WindowConfig

WINDOWS = range(9)
NUM_DRAFTERS = 4
ENGINES = ("hybrid", "lookup", "table", "hybrid")
JITTER = LinkConfig(rtt_ms=20.0, jitter=0.5)
STREAMS_PER_DRAFTER = 2


@dataclass(slots=True)
class Edge:
    """One drafter, which can be killed and restarted."""

    network: InProcessTransport
    target: TargetEngine
    name: str
    engine: str
    window: int
    is_up: asyncio.Event = field(default_factory=asyncio.Event)
    server: DrafterServer = field(init=False)
    running: asyncio.Task[None] = field(init=False)

    async def start(self) -> None:
        """Start the drafter and wait for its first session."""
        info = self.target.info
        core = DrafterCore(
            DrafterConfig(window=WindowConfig("fixed", max_tokens=self.window)), np.random.default_rng(self.window)
        )
        hello = Hello(PROTOCOL_VERSION, self.name, info.tokenizer_fingerprint)
        drafting = InlineDraftRunner(draft_engine(DraftConfig(engine=self.engine), info.vocab_size))
        uplink = VerifierEndpoint("here", self.network.connector(JITTER, seed=self.window))
        self.server = DrafterServer(core, drafting, hello, [uplink])
        self.running = asyncio.create_task(self.server.run())
        await self.server.meet(30.0)
        self.is_up.set()

    async def kill(self) -> None:
        """Stop the drafter in mid-stream, with its state, and start a new one."""
        await self.stop()
        await self.start()

    async def stop(self) -> None:
        """Stop the drafter."""
        self.is_up.clear()
        self.running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.running


async def generate(edge: Edge, text: ReferenceRequest) -> tuple[int, ...]:
    """Generate one text; repeat the request if the drafter is killed."""
    request = GenerationRequest(text.prompt, text.max_tokens, text.sampling, text.end_tokens)
    while True:
        tokens: list[int] = []
        try:
            with edge.server.generate(request) as answer:
                async for committed in answer:
                    tokens.extend(committed.tokens)
                return tuple(tokens)
        except LinkLostError:
            await edge.is_up.wait()


async def generate_all(
    target: TargetEngine, texts: Sequence[ReferenceRequest], windows: Sequence[int]
) -> tuple[list[tuple[int, ...]], list[int]]:
    """The texts by drafters with these windows, and the number of rounds by mode.

    Drafter 0 is killed once a third of the texts are complete.
    """
    core = VerifierCoreConfig(batching="deadline", scheduler="random", budget=4 * len(windows))
    drafts = co_located_drafts(CoLocatedConfig(), TargetConfig(), target.info)
    verifier = VerifierServer(core, target, co_located=drafts)
    driving = asyncio.create_task(verifier.run())
    network = InProcessTransport(verifier.serve)
    edges = [Edge(network, target, f"edge{i}", ENGINES[i % len(ENGINES)], window) for i, window in enumerate(windows)]
    for edge in edges:
        await edge.start()
    waiting = deque(enumerate(texts))
    generated: dict[int, tuple[int, ...]] = {}
    is_third_done = asyncio.Event()

    async def work(edge: Edge) -> None:
        while waiting:
            i, text = waiting.popleft()
            generated[i] = await generate(edge, text)
            if 3 * len(generated) >= len(texts):
                is_third_done.set()

    async def kill_first() -> None:
        await is_third_done.wait()
        await edges[0].kill()

    await asyncio.gather(kill_first(), *(work(edge) for edge in edges for _ in range(STREAMS_PER_DRAFTER)))
    for edge in edges:
        await edge.stop()
    await verifier.close()
    await driving
    await network.close()
    rounds = np.sum([client.rounds_by_mode for client in verifier.stats().clients], axis=0)
    return [generated[i] for i in range(len(texts))], rounds.tolist()


def make_texts(
    model: str, target: TargetEngine, args: argparse.Namespace, temperature: float
) -> list[ReferenceRequest]:
    """Prompts of all domains in turn, each with its own seed."""
    tokenizer = Tokenizer.load(locate_tokenizer(model))
    by_domain = zip(*(load_prompts(domain) for domain in DOMAINS), strict=False)
    prompts = itertools.islice(itertools.cycle(itertools.chain.from_iterable(by_domain)), args.prompts)
    rule = Rule.COUPLED if temperature else Rule.GREEDY
    return [
        ReferenceRequest(
            tuple(tokenizer.encode_chat([asdict(message) for message in prompt.messages])),
            args.max_tokens,
            Sampling(temperature=temperature, seed=1000 + i, rule=rule),
            target.info.end_tokens,
        )
        for i, prompt in enumerate(prompts)
    ]


def compare(target: TargetEngine, texts: Sequence[ReferenceRequest]) -> dict[str, object]:
    """Generate the texts by the baseline and by drafters with all windows in turn; report where they differ."""
    start_s = time.monotonic()
    baseline = [generated.tokens for generated in EnginePair(target, NullDraft()).generate_baseline(texts)]
    baseline_s = time.monotonic() - start_s
    passes = [list(WINDOWS)[i : i + NUM_DRAFTERS] for i in range(0, len(WINDOWS), NUM_DRAFTERS)]
    passes[-1] += list(WINDOWS)[2 : 2 + NUM_DRAFTERS - len(passes[-1])]
    differing = []
    rounds_by_mode = [0] * len(RoundMode)
    for number, windows in enumerate(passes):
        indices = range(number, len(texts), len(passes))
        generated, rounds = asyncio.run(generate_all(target, [texts[i] for i in indices], windows))
        rounds_by_mode = [before + more for before, more in zip(rounds_by_mode, rounds, strict=True)]
        differing += [
            {"prompt": i, "windows": windows, "token": position}
            for i, tokens in zip(indices, generated, strict=True)
            if (position := first_difference(baseline[i], tokens)) is not None
        ]
    return {
        "texts": len(texts),
        "tokens": sum(map(len, baseline)),
        "kills": len(passes),
        "rounds_by_mode": {mode.name.lower(): rounds_by_mode[mode] for mode in RoundMode},
        "differing": differing,
        "baseline_s": round(baseline_s, 1),
        "distributed_s": round(time.monotonic() - start_s - baseline_s, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--engine", default="torch", choices=("torch", "llama_cpp"))
    parser.add_argument("--dtype", default="fp32", choices=("fp32", "bf16", "auto"))
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--max-tokens", type=int, default=48)
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.0, 0.7, 1.0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    target = target_engine(args.engine, TargetConfig(model=args.model, dtype=args.dtype, threads=args.threads))
    results = {}
    for temperature in args.temperatures:
        results[str(temperature)] = result = compare(target, make_texts(args.model, target, args, temperature))
        print(f"temperature {temperature}: {json.dumps(result)}", flush=True)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({"arguments": vars(args) | {"json": str(args.json)}, "results": results}))
    return 1 if any(result["differing"] for result in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())

"""Run-ahead with live servers: one client of the toy pair, drafts of 10 ms a token, steps of 20 ms, emulated links.

    python -m runs.live_run_ahead

Engines sleep for these times, so that cores matter little. The verifier waits for every proposal (`fixed`). Gains are
beside `never` in the same repetition: mean, and range. Six minutes for three repetitions; no model.
"""

import argparse
import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from runs.live.paced_draft import PacedDraft
from runs.live.paced_target import PacedTarget

from goodspeed.drafter.core.core import DrafterCore
from goodspeed.drafter.core.core_config import DrafterCoreConfig
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.drafter.core.run_ahead import RunAheadCounts
from goodspeed.drafter.draft_runner import ThreadDraftRunner
from goodspeed.drafter.server import DrafterServer
from goodspeed.drafter.uplink import VerifierEndpoint
from goodspeed.engine.toy_draft import ToyDraft
from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.protocol.inprocess import InProcessTransport
from goodspeed.protocol.link_config import LinkConfig
from goodspeed.protocol.messages import PROTOCOL_VERSION, Hello
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.server import VerifierServer

DRAFT_S, STEP_S = 0.010, 0.020
RTTS_MS = (20.0, 50.0)
ACCEPTANCE_RATES = (0.6, 0.8, 0.9)
ARMS = ("never", "auto", "always")
PROMPT = tuple(b"the quick brown fox jumps over the lazy dog")


@dataclass(frozen=True, slots=True)
class LiveRound:
    """The result of one arm in one repetition."""

    tokens_per_s: float
    counts: RunAheadCounts


async def measure(run_ahead: str, rtt_ms: float, rate: float, seconds: float) -> LiveRound:
    """Goodput of one client that sends one request after another."""
    config = VerifierCoreConfig(scheduler="fixed", budget=8, draft_selection="arrival")
    verifier = VerifierServer(config, PacedTarget(ToyTarget(toy_info()), STEP_S))
    network = InProcessTransport(verifier.serve)
    running = [asyncio.create_task(verifier.run())]
    core = DrafterCore(DrafterCoreConfig(run_ahead=run_ahead), np.random.default_rng(0))
    runner = ThreadDraftRunner(PacedDraft(ToyDraft(rate), DRAFT_S))
    uplink = VerifierEndpoint("here", network.connector(LinkConfig(rtt_ms=rtt_ms), 0))
    drafter = DrafterServer(core, runner, Hello(PROTOCOL_VERSION, "client", "toy"), [uplink])
    running.append(asyncio.create_task(drafter.run()))
    await drafter.meet(30.0)
    started = time.monotonic()
    for number in itertools.count():
        if time.monotonic() > started + seconds:
            break
        with drafter.generate(GenerationRequest((*PROMPT, number % 256), 100)) as answer:
            async for _ in answer:
                pass
    tokens_per_s = drafter.metrics.num_committed / (time.monotonic() - started)
    running.pop().cancel()
    await verifier.close()
    await asyncio.gather(*running)
    await network.close()
    return LiveRound(tokens_per_s, core.run_ahead_counts)


def show_arm(setup: str, arm: str, rounds: Sequence[LiveRound], without: Sequence[LiveRound]) -> None:
    gains = [one.tokens_per_s / other.tokens_per_s - 1.0 for one, other in zip(rounds, without, strict=True)]
    num_hits = sum(one.counts.num_hits for one in rounds)
    num_verdicts = num_hits + sum(one.counts.num_misses for one in rounds)
    gain = f"{np.mean(gains):+.1%} ({min(gains):+.1%} to {max(gains):+.1%})" if arm != ARMS[0] else ""
    hit_rate = f"{num_hits / num_verdicts:.2f}" if num_verdicts else "off"
    print(f"{setup} | {arm} | {np.mean([one.tokens_per_s for one in rounds]):.1f} | {gain} | {hit_rate} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0, help="of every arm in every repetition")
    args = parser.parse_args()
    print("| RTT, ms | acceptance | run-ahead | tokens/s | gain | hits |\n|---|---|---|---|---|---|")
    for rtt_ms, rate in itertools.product(RTTS_MS, ACCEPTANCE_RATES):
        rounds: dict[str, list[LiveRound]] = {arm: [] for arm in ARMS}
        for _ in range(args.repetitions):
            for arm in ARMS:
                rounds[arm].append(asyncio.run(measure(arm, rtt_ms, rate, args.seconds)))
        for arm in ARMS:
            show_arm(f"| {rtt_ms:g} | {rate}", arm, rounds[arm], rounds[ARMS[0]])


if __name__ == "__main__":
    main()

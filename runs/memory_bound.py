"""Streams at once and tokens per second where KV memory binds, live: whole answers reserved, or memory that grows.

One verifier with the default target and memory for 16 whole answers, four drafters (default drafts) with twelve users
each, who send their prompts one after another, greedy. Four arms: memory for all; whole answers reserved; memory that
grows; and the same with the shortest answers first, so that the verifier expects too little and has to preempt. The
texts of all arms must be equal: exit code 1 if not. Ten minutes on two cores; needs the target model.

    python -m runs.memory_bound
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from statistics import fmean

import numpy as np
import torch
from runs.live.live_run import PersistentThread

from goodspeed.drafter.core.core import DrafterCore
from goodspeed.drafter.core.core_config import DrafterCoreConfig, RetryConfig
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.drafter.draft_runner import ThreadDraftRunner
from goodspeed.drafter.server import DrafterServer
from goodspeed.drafter.uplink import VerifierEndpoint
from goodspeed.engine.drafts import DraftConfig, draft_engine
from goodspeed.engine.interface import TargetEngine
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.torch.kv import kv_bytes_per_token
from goodspeed.engine.torch.loading import load_target
from goodspeed.engine.torch_import import keep_cores
from goodspeed.library_environment import set_library_environment
from goodspeed.models.catalog import locate
from goodspeed.models.model_config import read_config
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.prompts.prompts import DOMAINS, load_prompts
from goodspeed.protocol.inprocess import InProcessTransport
from goodspeed.protocol.messages import PROTOCOL_VERSION, Hello
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.server import VerifierServer

NUM_DRAFTERS, NUM_USERS = 4, 12
"""Users of each drafter."""
NUM_WHOLE = 16
MAX_PROMPT, MAX_ANSWER = 128, 256
PATIENT = RetryConfig(give_up_s=3600.0, first_token_s=3600.0, verdict_s=3600.0)

MB = 1 << 20

Prompt = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, with the times of its first and last token."""

    prompt: Prompt
    tokens: Prompt
    requested_s: float
    first_token_s: float
    finished_s: float


@dataclass(frozen=True, slots=True)
class Arm:
    """What one arm served."""

    name: str
    answers: list[Answer]
    num_preemptions: int

    @property
    def texts(self) -> dict[Prompt, Prompt]:
        return {answer.prompt: answer.tokens for answer in self.answers}

    def show(self) -> None:
        """Its row of the table. "At once" are streams between their first and last token."""
        started_s = min(answer.requested_s for answer in self.answers)
        span_s = max(answer.finished_s for answer in self.answers) - started_s
        at_once = sum(answer.finished_s - answer.first_token_s for answer in self.answers) / span_s
        tokens_per_s = sum(len(answer.tokens) for answer in self.answers) / span_s
        first_token_s = fmean(answer.first_token_s - answer.requested_s for answer in self.answers)
        cells = (f"{at_once:.1f}", f"{tokens_per_s:.1f}", f"{first_token_s:.1f}", str(self.num_preemptions))
        print(f"| {self.name} | {' | '.join(cells)} |", flush=True)


async def serve(
    name: str, target: TargetEngine, thread: PersistentThread, config: VerifierCoreConfig, prompts: Sequence[Prompt]
) -> Arm:
    """All prompts by closed-loop users, who take them in turn."""
    verifier = VerifierServer(config, target, engine_thread=thread)
    running = asyncio.create_task(verifier.run())
    waiting, answers = iter(prompts), list[Answer]()
    async with AsyncExitStack() as stack:
        network = InProcessTransport(verifier.serve)
        stack.push_async_callback(network.close)
        drafters = [await _drafter(stack, network, target, number) for number in range(NUM_DRAFTERS)]
        users = [_user(drafters[i % NUM_DRAFTERS], waiting, target, answers) for i in range(NUM_DRAFTERS * NUM_USERS)]
        await asyncio.gather(*users)
        num_preemptions = verifier.stats().memory.num_preemptions
        await verifier.close()
        await running
    return Arm(name, answers, num_preemptions)


async def _drafter(
    stack: AsyncExitStack, network: InProcessTransport, target: TargetEngine, number: int
) -> DrafterServer:
    info = target.info
    runner = ThreadDraftRunner(draft_engine(DraftConfig(), info.vocab_size, info.tokenizer_fingerprint))
    core = DrafterCore(DrafterCoreConfig(retry=PATIENT), np.random.default_rng(number))
    hello = Hello(PROTOCOL_VERSION, f"drafter{number}", info.tokenizer_fingerprint)
    server = DrafterServer(core, runner, hello, [VerifierEndpoint("here", network.connector(None))])
    stack.callback(asyncio.create_task(server.run()).cancel)
    await server.meet(30.0)
    return server


async def _user(drafter: DrafterServer, waiting: Iterable[Prompt], target: TargetEngine, answers: list[Answer]) -> None:
    for prompt in waiting:
        requested_s, first_token_s, tokens = time.monotonic(), 0.0, list[int]()
        request = GenerationRequest(prompt, MAX_ANSWER, end_tokens=target.info.end_tokens)
        with drafter.generate(request) as answer:
            async for committed in answer:
                first_token_s = first_token_s or time.monotonic()
                tokens += committed.tokens
        answers.append(Answer(prompt, tuple(tokens), requested_s, first_token_s, time.monotonic()))


def chat_prompts(model: str, number: int) -> list[Prompt]:
    """Distinct prompts of all domains in turn, those that are not too long."""
    tokenizer = Tokenizer.load(locate(model))
    by_domain = [
        [tuple(tokenizer.encode_chat(list(map(asdict, prompt.messages)))) for prompt in load_prompts(domain)]
        for domain in DOMAINS
    ]
    in_turn = [prompt for prompts in zip(*by_domain, strict=False) for prompt in prompts]
    return [prompt for prompt in dict.fromkeys(in_turn) if len(prompt) <= MAX_PROMPT][:number]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--prompts", type=int, default=96)
    parser.add_argument("--threads", type=int, default=0, help="of the target; 0: one for every core")
    args = parser.parse_args()
    set_library_environment()
    keep_cores(TargetConfig(threads=args.threads))
    prompts = chat_prompts(args.model, args.prompts)
    thread = PersistentThread()
    print("| memory | streams at once | tokens/s | first token, mean, s | preemptions |")
    print("|---" * 5 + "|")
    ample = _load(args, thread, NUM_DRAFTERS * NUM_USERS)
    arms = [_run("for all", ample, thread, 0.0, prompts)]
    scarce = _load(args, thread, NUM_WHOLE)
    lengths = arms[0].texts
    arms += [
        _run("whole answers reserved", scarce, thread, 0.0, prompts),
        _run("grows", scarce, thread, 0.02, prompts),
        _run("grows, short answers first", scarce, thread, 0.02, sorted(prompts, key=lambda each: len(lengths[each]))),
    ]
    thread.end()
    num_differing = sum(arm.texts[prompt] != lengths[prompt] for arm in arms[1:] for prompt in prompts)
    print(f"\n{num_differing} of {len(prompts) * (len(arms) - 1)} texts differ from those with memory for all")
    return 1 if num_differing else 0


def _load(args: argparse.Namespace, thread: PersistentThread, num_whole: int) -> TargetEngine:
    """The target with memory for so many whole answers."""
    num_tokens = num_whole * (MAX_PROMPT + MAX_ANSWER)
    kv_memory_mb = -(-num_tokens * kv_bytes_per_token(read_config(locate(args.model)), torch.float32) // MB)
    config = TargetConfig(model=args.model, dtype="fp32", threads=args.threads, kv_memory_mb=kv_memory_mb)
    return thread.submit(load_target, config).result()


def _run(name: str, target: TargetEngine, thread: PersistentThread, watermark: float, prompts: Sequence[Prompt]) -> Arm:
    arm = asyncio.run(serve(name, target, thread, VerifierCoreConfig(growth_watermark=watermark), prompts))
    arm.show()
    return arm


if __name__ == "__main__":
    sys.exit(main())

"""Time to the first token over the turns of one conversation, with and without the verifier's prefix cache.

One verifier and one drafter (hybrid drafts) in this process, greedy. Every turn adds the tokens of a message and an
answer. At the end the last request is sent again, twice. Both arms must write the same text: exit code 1 if not. Three
minutes; needs the target model.

    python -m runs.conversation
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from runs.live.live_run import PersistentThread

from goodspeed.drafter.core.core import DrafterCore
from goodspeed.drafter.core.core_config import DrafterCoreConfig
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.drafter.draft_runner import ThreadDraftRunner
from goodspeed.drafter.server import DrafterServer
from goodspeed.drafter.uplink import VerifierEndpoint
from goodspeed.engine.drafts import DraftConfig, draft_engine
from goodspeed.engine.interface import TargetEngine
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.torch.loading import load_target
from goodspeed.engine.torch_import import keep_cores
from goodspeed.library_environment import set_library_environment
from goodspeed.models.catalog import locate
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.prompts.prompts import DOMAINS, load_prompts
from goodspeed.protocol.inprocess import InProcessTransport
from goodspeed.protocol.link_config import LinkConfig
from goodspeed.protocol.messages import PROTOCOL_VERSION, Hello
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.server import VerifierServer

ARMS = {"without": VerifierCoreConfig(prefix_cache_tokens=0), "with": VerifierCoreConfig()}
NUM_AGAIN = 2


@dataclass(frozen=True, slots=True)
class Turn:
    """One request of the conversation."""

    num_prompt: int
    num_cached: int
    first_token_s: float
    whole_s: float
    text: tuple[int, ...]


async def converse(
    target: TargetEngine,
    thread: PersistentThread,
    config: VerifierCoreConfig,
    messages: Sequence[Sequence[int]],
    num_answer: int,
) -> list[Turn]:
    """The turns of one conversation, then the last request again."""
    verifier = VerifierServer(config, target, engine_thread=thread)
    network = InProcessTransport(verifier.serve)
    running = [asyncio.create_task(verifier.run())]
    info = target.info
    runner = ThreadDraftRunner(draft_engine(DraftConfig(), info.vocab_size, info.tokenizer_fingerprint))
    uplink = VerifierEndpoint("here", network.connector(LinkConfig(), 0))
    hello = Hello(PROTOCOL_VERSION, "user", info.tokenizer_fingerprint)
    drafter = DrafterServer(DrafterCore(DrafterCoreConfig(), np.random.default_rng(0)), runner, hello, [uplink])
    running.append(asyncio.create_task(drafter.run()))
    await drafter.meet(30.0)
    turns: list[Turn] = []
    prompt: tuple[int, ...] = ()
    for message in messages:
        prompt = (*(turns[-1].text if turns else ()), *message)
        turns.append(await ask(drafter, prompt, num_answer))
    for _ in range(NUM_AGAIN):
        turns.append(await ask(drafter, prompt, num_answer))
    running.pop().cancel()
    await verifier.close()
    await asyncio.gather(*running)
    await network.close()
    return turns


async def ask(drafter: DrafterServer, prompt: tuple[int, ...], num_answer: int) -> Turn:
    started, first_token_s = time.monotonic(), None
    text = list(prompt)
    with drafter.generate(GenerationRequest(prompt, num_answer)) as answer:
        async for committed in answer:
            text += committed.tokens
            first_token_s = first_token_s or time.monotonic() - started
    assert first_token_s is not None
    return Turn(len(prompt), answer.stats[0].num_cached, first_token_s, time.monotonic() - started, tuple(text))


def user_messages(model: str, lengths: Sequence[int]) -> list[list[int]]:
    """Of exactly so many tokens, cut from the prompts of one domain."""
    tokenizer = Tokenizer.load(locate(model))
    text = "\n".join(message.content for prompt in load_prompts(DOMAINS[0]) for message in prompt.messages)
    tokens = iter(tokenizer.encode(text))
    return [list(islice(tokens, length)) for length in lengths]


def show(number: str, arms: dict[str, list[Turn]]) -> None:
    without, cached = arms["without"], arms["with"]
    cells = [number, str(cached[0].num_prompt), str(cached[0].num_cached)]
    for turns in (without, cached):
        times = [turn.first_token_s for turn in turns]
        cells.append(f"{np.median(times):.3f} ({min(times):.3f} to {max(times):.3f})")
    for turns in (without, cached):
        cells.append(f"{np.median([turn.whole_s for turn in turns]):.2f}")
    print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--first", type=int, default=98, help="tokens of the first message, with the system prompt")
    parser.add_argument("--message", type=int, default=36, help="tokens of each later message")
    parser.add_argument("--answer", type=int, default=60, help="tokens of an answer")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="of the target; 0: one for every core")
    args = parser.parse_args()
    set_library_environment()
    target_config = TargetConfig(model=args.model, threads=args.threads)
    keep_cores(target_config)
    messages = user_messages(args.model, [args.first, *[args.message] * (args.turns - 1)])
    thread = PersistentThread()
    target = thread.submit(load_target, target_config).result()
    asyncio.run(converse(target, thread, ARMS["without"], messages[:1], args.answer))  # the first steps are slower
    runs: dict[str, list[list[Turn]]] = {arm: [] for arm in ARMS}
    for _ in range(args.repetitions):
        for arm, config in ARMS.items():
            runs[arm].append(asyncio.run(converse(target, thread, config, messages, args.answer)))
    thread.end()
    print("| turn | prompt, tokens | cached | first token without, s | with, s | answer without, s | with, s |")
    print("|---" * 7 + "|")
    for i in range(args.turns + NUM_AGAIN):
        show(str(i + 1) if i < args.turns else "again", {arm: [turns[i] for turns in runs[arm]] for arm in ARMS})
    texts = {
        turns[i].text for arm in ARMS for turns in runs[arm] for i in range(args.turns - 1, args.turns + NUM_AGAIN)
    }
    print(f"\n{len(texts)} distinct texts of {len(ARMS) * args.repetitions} conversations")
    sys.exit(len(texts) > 1)


if __name__ == "__main__":
    main()

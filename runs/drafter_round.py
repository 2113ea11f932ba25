"""Time of a drafter in a round, from the verdict's arrival to the proposal's departure, drafting included.

A scripted verifier at the other end of the link knows the answer and replies at once. The run prints, for each draft
engine in the event loop and in its own thread, the median and the 99th percentile over the rounds of one stream. Codec
and sockets are not included (see codec_speed.py). 15 s; needs the shipped tokenizer and n-gram table.

    python -m runs.drafter_round
"""

import argparse
import asyncio
import time
from collections.abc import Sequence

import numpy as np

from goodspeed.drafter.assembly import load_tokenizer
from goodspeed.drafter.core.core import DrafterCore
from goodspeed.drafter.core.core_config import DrafterCoreConfig
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.drafter.draft_runner import InlineDraftRunner, ThreadDraftRunner
from goodspeed.drafter.drafter_config import DEFAULT_MODEL
from goodspeed.drafter.server import DrafterServer
from goodspeed.drafter.uplink import VerifierEndpoint
from goodspeed.engine.drafts import DraftConfig, draft_engine
from goodspeed.library_environment import set_library_environment
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.prompts.prompts import DOMAINS, load_prompts
from goodspeed.protocol.messages import (
    PROTOCOL_VERSION,
    FinishReason,
    Hello,
    Message,
    Open,
    Opened,
    Propose,
    Verdict,
    Welcome,
)
from goodspeed.protocol.transport import ANYONE, Connection, LinkTraffic

NUM_PROMPT = 400
GRANT = 8


class ScriptedVerifier:
    """A link to a verifier that knows the text; `seconds` has the time from each verdict to its proposal."""

    peer = "script"
    identity = ANYONE
    traffic = LinkTraffic()

    def __init__(self, text: Sequence[int]) -> None:
        self.seconds: list[float] = []
        self.num_accepted = 0
        self._text = tuple(text)
        self._replies: asyncio.Queue[Message] = asyncio.Queue()
        self._received_at = 0.0

    async def send(self, messages: Sequence[Message]) -> None:
        sent_at = time.perf_counter()
        for message in messages:
            if isinstance(message, Hello):
                limits = (2**16, len(self._text), 64, 64, ())
                self._replies.put_nowait(Welcome(PROTOCOL_VERSION, "script", "script", "script", *limits))
            elif isinstance(message, Open):
                self._replies.put_nowait(Opened(message.stream, message.epoch))
                self._reply(message.stream, 0, len(message.tokens), ())
            elif isinstance(message, Propose):
                self.seconds.append(sent_at - self._received_at)
                self._reply(message.stream, message.round, message.committed_length, message.tokens)

    async def receive(self) -> Sequence[Message]:
        message = await self._replies.get()
        await asyncio.sleep(0.0002)  # so that notifying the user after a proposal is not part of the next round
        self._received_at = time.perf_counter()
        return (message,)

    async def close(self) -> None:
        """Nothing to release."""

    def _reply(self, stream: int, round_number: int, length: int, tokens: Sequence[int]) -> None:
        expected = self._text[length : length + len(tokens) + 1]
        num_accepted = 0
        while num_accepted < min(len(tokens), len(expected) - 1) and tokens[num_accepted] == expected[num_accepted]:
            num_accepted += 1
        self.num_accepted += num_accepted
        end = length + num_accepted + 1
        finish = FinishReason.LENGTH if end == len(self._text) else FinishReason.NONE
        self._replies.put_nowait(
            Verdict(stream, 0, round_number, num_accepted, expected[num_accepted], end, GRANT, finish)
        )


async def measure(text: Sequence[int], engine: str, kind: type[InlineDraftRunner | ThreadDraftRunner]) -> str:
    """Measure one engine; returns a line of the table."""
    script = ScriptedVerifier(text)

    async def connect() -> Connection:
        return script

    drafting = kind(draft_engine(DraftConfig(engine=engine), 49152))
    core = DrafterCore(DrafterCoreConfig(), np.random.default_rng(0))
    server = DrafterServer(
        core, drafting, Hello(PROTOCOL_VERSION, "drafter", ""), [VerifierEndpoint("script", connect)]
    )
    running = asyncio.create_task(server.run())
    await server.meet(5.0)
    with server.generate(GenerationRequest(tuple(text[:NUM_PROMPT]), len(text) - NUM_PROMPT)) as answer:
        async for _ in answer:
            pass
    running.cancel()
    await asyncio.wait({running})
    times_us = np.array(script.seconds) * 1e6
    location = "event loop" if kind is InlineDraftRunner else "thread"
    return (
        f"{engine:<8} {location:<11} {len(times_us):>6} rounds  {script.num_accepted / len(times_us):5.2f} accepted  "
        f"median {np.median(times_us):7.0f} us  p99 {np.percentile(times_us, 99):7.0f} us"
    )


def real_text(tokenizer: Tokenizer, num_tokens: int) -> list[int]:
    """Tokens of the built-in prompts, with their natural repetitions."""
    texts = (message.content for domain in DOMAINS for prompt in load_prompts(domain) for message in prompt.messages)
    return tokenizer.encode("\n".join(texts))[: NUM_PROMPT + num_tokens]


def main() -> None:
    set_library_environment()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=4000)
    text = real_text(load_tokenizer(DEFAULT_MODEL), parser.parse_args().tokens)
    for engine in ("none", "lookup", "table", "hybrid"):
        for kind in (InlineDraftRunner, ThreadDraftRunner):
            print(asyncio.run(measure(text, engine, kind)), flush=True)


if __name__ == "__main__":
    main()

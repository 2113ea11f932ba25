"""Scene 4: a drafter dies in the middle of an answer, and the user's application sends its request to the next one."""

import os
import signal
import time
from dataclasses import dataclass, replace

from goodspeed.bench.answer import LoadAnswer
from goodspeed.bench.endpoint import OpenAIEndpoint, RequestSettings, http_client
from goodspeed.cluster.cluster import Cluster
from goodspeed.demo.scenes import Scene
from goodspeed.errors import LinkLostError
from goodspeed.prompts.prompts import Prompt

TITLE = "A drafter is killed in the middle of an answer"


@dataclass(slots=True)
class _User:
    """What the user's application has received of the first answer."""

    drafter_pid: int
    pieces: int = 0
    text: str = ""

    def on_text(self, piece: str) -> None:
        """Kill the drafter once the answer has begun."""
        self.text += piece
        self.pieces += 1
        if self.pieces == 2:
            os.kill(self.drafter_pid, signal.SIGKILL)


async def killed_drafter(cluster: Cluster, prompt: Prompt, settings: RequestSettings) -> Scene:
    """Kill the cluster's first drafter in mid-answer; ask its last one for the same prompt.

    Raises the errors of OpenAIEndpoint.generate, but LinkLostError of the drafter that was killed.
    """
    user = _User(cluster.drafters[0].pid)
    async with http_client() as http:
        first, last = OpenAIEndpoint(http, cluster.urls[0]), OpenAIEndpoint(http, cluster.urls[-1])
        alone = await last.generate(prompt, replace(settings, mode="target_only"), time.perf_counter, _ignore)
        try:
            await first.generate(prompt, settings, time.perf_counter, user.on_text)
        except LinkLostError:
            started_s = time.perf_counter()
            answer = await last.generate(prompt, settings, time.perf_counter, _ignore)
            return _scene(user.text, answer, answer.chunk_s[0] - started_s, alone)
    return Scene(TITLE, "the answer was complete before the drafter was dead")


def _scene(shown: str, answer: LoadAnswer, waited_s: float, alone: LoadAnswer) -> Scene:
    has_shown = answer.text.startswith(shown) and answer.text == alone.text
    outcome = "it is the target's own text" if has_shown else "the text is another one"
    return Scene(
        TITLE,
        f"after {len(shown)} characters; the next drafter writes the answer after {waited_s:.2f} s, and {outcome}",
        has_shown=has_shown,
    )


def _ignore(_text: str) -> None:
    pass

"""Conversations: every turn's prompt is the whole text of the turns before it, and what the user adds."""

from collections.abc import Iterator

import numpy as np

from goodspeed.config import config_dataclass, option, table
from goodspeed.simulator.workload.closed import ClosedConfig, think_times_s
from goodspeed.simulator.workload.request_sizes import RequestSizes
from goodspeed.simulator.workload.workload import WorkloadRequest


@config_dataclass
class ConversationConfig:
    """Users that talk: they read the answer, think, and send the next turn. The prompt's lengths are those of turns."""

    num_turns: int = option(10, "turns of a conversation; the next request starts a new one", ge=1)
    max_prompt: int = option(4_000, "a conversation ends before a prompt would have more tokens", ge=1)
    user: ClosedConfig = table(ClosedConfig)


class ConversationWorkload:
    """One user per client, with one conversation after the other."""

    def __init__(self, config: ConversationConfig, sizes: RequestSizes) -> None:
        self._config = config
        self._sizes = sizes

    def requests(self, client: int, rng: np.random.Generator) -> Iterator[WorkloadRequest]:  # noqa: ARG002
        turn = num_before = 0
        for think_s in think_times_s(self._config.user, rng):
            num_new, num_answer = self._sizes.prompt.draw(rng), self._sizes.answer.draw(rng)
            if turn == self._config.num_turns or num_before + num_new > self._config.max_prompt:
                turn = num_before = 0
            yield WorkloadRequest(think_s, True, num_before + num_new, num_answer, is_next_turn=turn > 0)
            turn, num_before = turn + 1, num_before + num_new + num_answer

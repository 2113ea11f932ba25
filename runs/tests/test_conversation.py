"""A conversation is read once with the prefix cache, and anew at every turn without; the texts are the same."""

import asyncio

from runs.conversation import ARMS, converse
from runs.live.live_run import PersistentThread

from goodspeed.engine.toy_target import ToyTarget

MESSAGES = [[turn + 1] * 20 for turn in range(3)]


def test_arms_write_the_same_text_and_read_what_they_say() -> None:
    thread = PersistentThread()
    turns = {
        arm: asyncio.run(converse(ToyTarget(), thread, config, MESSAGES, num_answer=10)) for arm, config in ARMS.items()
    }
    thread.end()
    assert [turn.num_prompt for turn in turns["with"]] == [20, 50, 80, 80, 80]
    assert [turn.num_cached for turn in turns["with"]] == [0, 29, 59, 79, 79]
    assert not any(turn.num_cached for turn in turns["without"])
    assert [turn.text for turn in turns["with"]] == [turn.text for turn in turns["without"]]

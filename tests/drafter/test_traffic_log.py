"""The traffic log has prompts, answers and rejected draft tokens, in the form that the tuning side reads."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.drafter.live import LiveVerifier, drafter_at, read

from goodspeed.decoding.draft import DraftRequest
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.drafter.core.engine_updates import DraftWork, StreamClosed, StreamCommitted, StreamOpened
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.drafter.draft_runner import InlineDraftRunner
from goodspeed.drafter.traffic_log import TrafficLog, TrafficLoggingRunner
from goodspeed.engine.toy_draft import ToyDraft
from goodspeed.engine.toy_model import TOY_VOCAB_SIZE
from goodspeed.errors import ConfigError
from goodspeed.testing.virtual_drafter import target_only_tokens
from goodspeed.tuning.data.prompt_sources import read_traffic_log

REQUEST = GenerationRequest(tuple(b"the quick brown"), max_tokens=60)
COUPLED = replace(REQUEST, sampling=Sampling(0.7, seed=11, rule=Rule.COUPLED))


async def test_prompts_and_answers_are_logged(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "traffic.jsonl"
    runner = TrafficLoggingRunner(InlineDraftRunner(ToyDraft(0.6)), TrafficLog(path, "kitchen"))
    async with LiveVerifier().running() as verifier, drafter_at([verifier], runner=runner) as drafter:
        await asyncio.gather(read(drafter, REQUEST), read(drafter, COUPLED))
    greedy, coupled = sorted(read_traffic_log(path, TOY_VOCAB_SIZE), key=lambda answer: answer.origin.temperature)
    assert (greedy.prompt, list(greedy.answer)) == (REQUEST.tokens, target_only_tokens(REQUEST))
    assert list(coupled.answer) == target_only_tokens(COUPLED)
    assert (coupled.origin.source, coupled.origin.temperature, coupled.origin.seed) == ("kitchen", 0.7, 11)
    assert 5 < len(greedy.rejected) < 40
    assert all(greedy.answer[one.position] != one.token for one in greedy.rejected)


def test_only_the_first_difference_of_a_round_was_rejected(tmp_path: Path) -> None:
    """The tokens after it were not verified."""
    path = tmp_path / "traffic.jsonl"
    engine = ToyDraft(0.0)
    runner = TrafficLoggingRunner(InlineDraftRunner(engine), TrafficLog(path, "kitchen"))
    runner.submit(
        DraftWork([StreamOpened(1, (5, 6), Sampling()), StreamCommitted(1, (7,))], [DraftRequest(1, 3)]), lambda _: None
    )
    (proposed,) = engine.draft([DraftRequest(1, 3)])
    answer = (proposed.tokens[0], 250, 251)
    runner.submit(
        DraftWork(
            [StreamCommitted(1, answer), StreamClosed(1), StreamOpened(2, (5,), Sampling()), StreamClosed(2)], []
        ),
        lambda _: None,
    )
    runner.close()
    (line,) = [json.loads(line) for line in path.read_text().splitlines()]  # the second stream has no answer
    assert line["answer"] == [7, *answer]
    assert line["rejected"] == [[2, proposed.tokens[1]]]


def test_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"traffic\.jsonl"):
        TrafficLog(tmp_path / "file" / "traffic.jsonl", "kitchen")


def test_full_disk_ends_the_log_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    runner = TrafficLoggingRunner(InlineDraftRunner(ToyDraft(0.5)), TrafficLog(Path("/dev/full"), "kitchen"))
    for stream in (1, 2):
        work = DraftWork(
            [StreamOpened(stream, (5,), Sampling()), StreamCommitted(stream, (7,)), StreamClosed(stream)], []
        )
        runner.submit(work, lambda _: None)
    assert [record.getMessage() for record in caplog.records] == ["traffic is no longer logged"]

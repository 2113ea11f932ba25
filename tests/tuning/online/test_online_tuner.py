"""Online tuning swaps a better draft into a running drafter, and never a worse one."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from tests.drafter.live import LiveVerifier, api_of, drafter_at, read
from tests.tuning.toy import VOCAB_SIZE, toy_example

from goodspeed.decoding.sampling import Rule
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.drafter.draft_swap import SwappableDraft
from goodspeed.drafter.traffic_log import TrafficLog, TrafficLoggingRunner
from goodspeed.engine.drafts import DraftConfig, draft_engine
from goodspeed.engine.interface import DraftEngine
from goodspeed.engine.toy_draft import ToyDraft
from goodspeed.engine.toy_tokenizer import toy_tokenizer
from goodspeed.errors import ConfigError, DataError, LinkLostError
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.testing.virtual_drafter import target_only_tokens
from goodspeed.tuning.data.scored_answer import scored_answers
from goodspeed.tuning.online.drafter_admin import HttpDrafterAdmin
from goodspeed.tuning.online.online_tuner import (
    ComparedDraft,
    NGramTableTrainer,
    OnlinePolicy,
    OnlineTuner,
    compare_drafts,
    learns_from_traffic,
)

ANSWERS = scored_answers([toy_example(i, 50) for i in range(12)], 0.0, Rule.GREEDY)
POLICY = OnlinePolicy(min_answers=8, window=4)
QUIET = DraftConfig(engine="lookup", table="none")


@pytest.mark.parametrize(("old", "new", "is_better"), [(0.4, 0.8, True), (0.8, 0.4, False), (0.6, 0.6, False)])
def test_draft_that_is_accepted_more_often_is_better(old: float, new: float, *, is_better: bool) -> None:
    found = compare_drafts(ComparedDraft(ToyDraft(old), ()), ComparedDraft(ToyDraft(new, seed=1), ()), ANSWERS, POLICY)
    assert found.is_better is is_better
    assert found.gain.mean == pytest.approx(found.new - found.old)


def test_gain_below_the_margin_is_not_enough() -> None:
    policy = replace(POLICY, margin=3.0)
    assert not compare_drafts(
        ComparedDraft(ToyDraft(0.4), ()), ComparedDraft(ToyDraft(0.8), ()), ANSWERS, policy
    ).is_better


@pytest.mark.parametrize(("engine", "changes"), [("hybrid", True), ("table", True), ("torch", False), ("toy", False)])
def test_recent_traffic_is_shown_to_drafts_that_learn_from_it(engine: str, *, changes: bool) -> None:
    assert learns_from_traffic(DraftConfig(engine=engine)) is changes


class CompliantDrafter:
    """Accepts every draft."""

    def __init__(self) -> None:
        self.config = QUIET

    def current(self) -> DraftConfig:
        return self.config

    def swap(self, config: DraftConfig) -> None:
        self.config = config


def engine_of(config: DraftConfig) -> DraftEngine:
    return draft_engine(config, VOCAB_SIZE)


def record(path: Path, numbers: range, **more: object) -> None:
    """Append answers to a few prompts, which repeat, to a traffic log."""
    with path.open("a") as file:
        for number in numbers:
            example = toy_example(number % 6, 40)
            line = {"prompt": example.prompt.tolist(), "answer": example.answer.tolist(), "client": "kitchen", **more}
            file.write(json.dumps(line, separators=(",", ":")) + "\n")


def tuner_of(folder: Path, admin: CompliantDrafter) -> OnlineTuner:
    trainer = NGramTableTrainer(VOCAB_SIZE, "abc")
    return OnlineTuner(folder / "traffic.jsonl", folder / "work", admin, trainer, POLICY)


def test_table_is_swapped_in_and_the_next_equal_one_is_not(tmp_path: Path) -> None:
    admin = CompliantDrafter()
    assert tuner_of(tmp_path, admin).next_round(engine_of, VOCAB_SIZE) is None  # no traffic yet
    record(tmp_path / "traffic.jsonl", range(24))
    first = tuner_of(tmp_path, admin).next_round(engine_of, VOCAB_SIZE)
    assert first is not None
    assert first.is_swapped
    assert (admin.config.engine, admin.config.table) == ("hybrid", str(tmp_path / "work/round-0000/table.npz"))
    assert tuner_of(tmp_path, admin).next_round(engine_of, VOCAB_SIZE) is None  # nothing new, even after a restart
    record(tmp_path / "traffic.jsonl", range(24, 40))
    second = tuner_of(tmp_path, admin).next_round(engine_of, VOCAB_SIZE)
    assert second is not None
    assert (second.number, second.is_swapped, second.num_trained) == (1, False, 36)
    assert "round-0000" in admin.config.table
    journal = [json.loads(line) for line in (tmp_path / "work/rounds.jsonl").read_text().splitlines()]
    assert [entry["is_swapped"] for entry in journal] == [True, False]


def test_held_out_answers_are_not_trained_on(tmp_path: Path) -> None:
    record(tmp_path / "traffic.jsonl", range(12))
    tuner_of(tmp_path, CompliantDrafter()).next_round(engine_of, VOCAB_SIZE)
    trained, held_out = (
        (tmp_path / "work/round-0000" / name).read_text() for name in ("train.jsonl", "held_out.jsonl")
    )
    assert trained + held_out == (tmp_path / "traffic.jsonl").read_text()
    assert len(held_out.splitlines()) == 3


def test_rejection_streams_are_left_out(tmp_path: Path) -> None:
    record(tmp_path / "traffic.jsonl", range(12), rule="rejection")
    assert tuner_of(tmp_path, CompliantDrafter()).next_round(engine_of, VOCAB_SIZE) is None


def test_error_names_a_torn_line_of_the_log(tmp_path: Path) -> None:
    record(tmp_path / "traffic.jsonl", range(12))
    with (tmp_path / "traffic.jsonl").open("a") as file:
        file.write('{"prompt":[1,2')
    with pytest.raises(DataError, match=r"held_out\.jsonl, line 4"):
        tuner_of(tmp_path, CompliantDrafter()).next_round(engine_of, VOCAB_SIZE)


def test_running_drafter_is_tuned_by_its_own_traffic(tmp_path: Path) -> None:
    """Requests are recorded, a table is trained and swapped in: the text stays that of the target."""
    toy_tokenizer(tmp_path)
    asyncio.run(_tuned(tmp_path, Tokenizer.load(tmp_path)))


async def _tuned(folder: Path, tokenizer: Tokenizer) -> None:
    draft = SwappableDraft(QUIET, tokenizer)
    recording = TrafficLoggingRunner(draft.runner, TrafficLog(folder / "traffic.jsonl", "kitchen"))
    requests = [GenerationRequest(tuple(b"the quick brown fox %d" % (i % 4)), max_tokens=40) for i in range(16)]
    async with (
        LiveVerifier().running() as verifier,
        drafter_at([verifier], runner=recording) as drafter,
        api_of(drafter, tokenizer, draft=draft) as url,
    ):
        before = await asyncio.gather(*(read(drafter, request) for request in requests))
        trainer = NGramTableTrainer(tokenizer.vocab_size, tokenizer.fingerprint)
        tuner = OnlineTuner(folder / "traffic.jsonl", folder / "work", HttpDrafterAdmin(url), trainer, POLICY)
        done = await asyncio.to_thread(tuner.next_round, engine_of, tokenizer.vocab_size)
        after = await asyncio.gather(*(read(drafter, request) for request in requests))
    assert done is not None
    assert done.is_swapped
    assert (draft.num_swaps, draft.config.engine) == (1, "hybrid")
    assert before == after == [target_only_tokens(request) for request in requests]


def test_refusal_and_absence_of_the_drafter_are_errors() -> None:
    refusing = httpx.MockTransport(lambda _: httpx.Response(403, text="forbidden"))
    with pytest.raises(ConfigError, match="answers 403: forbidden"):
        HttpDrafterAdmin("http://drafter", transport=refusing).current()
    with pytest.raises(LinkLostError, match="does not answer"):
        HttpDrafterAdmin("http://127.0.0.1:1").current()

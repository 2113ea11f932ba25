"""Collection from prompt files, from generated prompts and from traffic logs; an interrupted run resumes."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from goodspeed.engine.target_config import TargetConfig
from goodspeed.errors import ConfigError, DataError
from goodspeed.tuning.data.collector import Collector, Progress
from goodspeed.tuning.data.dataset import Dataset
from goodspeed.tuning.tuning_config import CollectConfig

Checkpoints = Callable[..., Path]
PROMPTS = [{"prompt": f"how many tokens {i}?", "category": "maths"} for i in range(9)]


@pytest.fixture(scope="module")
def model(random_checkpoint: Checkpoints) -> Path:
    return random_checkpoint("llama")


@pytest.fixture
def config(model: Path, tmp_path: Path) -> CollectConfig:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("\n".join(map(json.dumps, PROMPTS)))
    target = TargetConfig(str(model), dtype="fp32", device="cpu", threads=1)
    return CollectConfig(
        out=str(tmp_path / "data"),
        prompts=(str(prompts),),
        max_tokens=12,
        max_prompt=100,
        top_k=4,
        streams=3,
        shard_answers=2,
        target=target,
    )


class KilledError(Exception):
    """Interrupts a run."""


def ignore(_progress: Progress) -> None:
    return


def answers(dataset: Dataset) -> dict[str, list[int]]:
    return {example.origin.key: example.answer.tolist() for example in dataset.examples()}


def test_every_prompt_is_answered_greedy_and_at_each_temperature(config: CollectConfig) -> None:
    dataset = Collector(replace(config, temperatures=(0.7, 1.0))).run(ignore)
    assert len(answers(dataset)) == 27
    origins = [example.origin for example in dataset.examples()]
    assert sorted({origin.temperature for origin in origins}) == [0.0, 0.7, 1.0]
    assert len({origin.seed for origin in origins if origin.temperature}) > 1
    assert dataset.counts == {"prompts.jsonl/maths": 27}


def test_interrupted_run_resumes_to_the_same_answers(config: CollectConfig, tmp_path: Path) -> None:
    config = replace(config, generated_prompts=4, temperatures=(1.0,))
    uninterrupted = Collector(replace(config, out=str(tmp_path / "whole"))).run(ignore)
    seen = 0

    def kill(_progress: Progress) -> None:
        nonlocal seen
        seen += 1
        if seen in (3, 9, 14):
            raise KilledError

    finished = -1
    for _ in range(3):
        with pytest.raises(KilledError):
            Collector(config).run(kill)
        folders = [
            folder for folder in (tmp_path / "data", tmp_path / "data" / "turns") if (folder / "manifest.json").exists()
        ]
        now = sum(Dataset.open(folder).num_answers for folder in folders)
        assert now >= finished
        finished = now
    assert finished > 0
    assert answers(Collector(config).run(ignore)) == answers(uninterrupted)


def test_complete_collection_generates_nothing(config: CollectConfig) -> None:
    dataset = Collector(config).run(ignore)
    reports: list[Progress] = []
    assert answers(Collector(config).run(reports.append)) == answers(dataset)
    assert reports == []


def test_run_with_other_settings_is_refused(config: CollectConfig) -> None:
    Collector(config).run(ignore)
    with pytest.raises(DataError, match="collected with max_tokens 12, this run has 9"):
        Collector(replace(config, max_tokens=9)).run(ignore)


def test_target_generates_prompts_and_answers_them(config: CollectConfig) -> None:
    dataset = Collector(replace(config, prompts=(), generated_prompts=30, streams=16)).run(ignore)
    turns = list(Dataset.open(Path(config.out) / "turns").examples())
    assert len(turns) == 30
    assert len({tuple(turn.answer.tolist()) for turn in turns}) > 20
    assert {turn.origin.temperature for turn in turns} == {1.0}
    generated = [example for example in dataset.examples() if example.origin.source == "written"]
    ended = [turn for turn in turns if turn.answer[-1] == 0]
    assert 0 < len(generated) <= len(ended)
    assert {example.origin.temperature for example in generated} == {0.0}


def test_answers_of_a_traffic_log_are_scored(config: CollectConfig, tmp_path: Path) -> None:
    traffic_log = tmp_path / "live.jsonl"
    lines = [
        {"prompt": [5, 6, 7], "answer": [8, 9, 10], "rejected": [[1, 11]], "client": "edge-1"},
        {"prompt": [5], "answer": [9]},
    ]
    traffic_log.write_text("\n".join(map(json.dumps, lines)))
    config = replace(config, prompts=(), traffic_logs=(str(traffic_log),))
    dataset = Collector(config).run(ignore)
    first, second = dataset.examples()
    assert first.answer.tolist() == [8, 9, 10]
    assert first.top_tokens.shape == (3, 4)
    assert [(draft.position, draft.token) for draft in first.rejected] == [(1, 11)]
    assert (first.origin.source, second.origin.source) == ("edge-1", "live")
    assert Collector(config).run(ignore).num_answers == 2


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "line 1: expected 'prompt' and 'answer' in tokens"),
        ('{"prompt": [1]}', "line 1: expected 'prompt' and 'answer' in tokens"),
        ('{"prompt": [], "answer": [1]}', "line 1: expected tokens from 0 to 319"),
        ('{"prompt": [1], "answer": [320]}', "line 1: expected tokens from 0 to 319"),
        ('{"prompt": [1], "answer": [1], "rejected": [[1, 2]]}', "line 1: a rejected token lies beyond the answer"),
    ],
)
def test_malformed_traffic_log_is_refused(config: CollectConfig, tmp_path: Path, line: str, complaint: str) -> None:
    traffic_log = tmp_path / "live.jsonl"
    traffic_log.write_text(line)
    with pytest.raises(DataError, match=complaint):
        Collector(replace(config, prompts=(), traffic_logs=(str(traffic_log),))).run(ignore)


@pytest.mark.parametrize("values", [{"out": ""}, {"prompts": ()}, {"temperatures": (0.0,)}, {"top_k": 0}])
def test_invalid_config_is_refused(config: CollectConfig, values: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        replace(config, **values)  # type: ignore[arg-type]


def test_top_k_above_the_vocabulary_is_refused(config: CollectConfig) -> None:
    with pytest.raises(ConfigError, match="top_k is 999, the vocabulary has 320 tokens"):
        Collector(replace(config, top_k=999))

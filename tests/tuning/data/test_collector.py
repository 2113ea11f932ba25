"""Collection from prompts, from the target's own, and from live rounds; killed in mid-run, it goes on."""

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
    target = TargetConfig(str(model), dtype="fp32", device="cpu", threads=2)
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
    """What ends a run in its middle."""


def silent(_progress: Progress) -> None:
    return


def answers(dataset: Dataset) -> dict[str, list[int]]:
    return {one.origin.key: one.answer.tolist() for one in dataset.examples()}


def test_every_prompt_is_answered_greedy_and_at_each_temperature(config: CollectConfig) -> None:
    dataset = Collector(replace(config, temperatures=(0.7, 1.0))).run(silent)
    assert len(answers(dataset)) == 27
    origins = [one.origin for one in dataset.examples()]
    assert sorted({origin.temperature for origin in origins}) == [0.0, 0.7, 1.0]
    assert len({origin.seed for origin in origins if origin.temperature}) > 1
    assert dataset.counts == {"prompts.jsonl/maths": 27}


def test_killed_run_goes_on_to_the_same_answers(config: CollectConfig, tmp_path: Path) -> None:
    config = replace(config, write=4, temperatures=(1.0,))
    whole = Collector(replace(config, out=str(tmp_path / "whole"))).run(silent)
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
    assert answers(Collector(config).run(silent)) == answers(whole)


def test_finished_collection_asks_nothing(config: CollectConfig) -> None:
    dataset = Collector(config).run(silent)
    reports: list[Progress] = []
    assert answers(Collector(config).run(reports.append)) == answers(dataset)
    assert reports == []


def test_other_settings_may_not_go_on_there(config: CollectConfig) -> None:
    Collector(config).run(silent)
    with pytest.raises(DataError, match="collected with max_tokens 12, this run has 9"):
        Collector(replace(config, max_tokens=9)).run(silent)


def test_target_writes_prompts_and_answers_them(config: CollectConfig) -> None:
    dataset = Collector(replace(config, prompts=(), write=30)).run(silent)
    turns = list(Dataset.open(Path(config.out) / "turns").examples())
    assert len(turns) == 30
    assert len({tuple(turn.answer.tolist()) for turn in turns}) > 20
    assert {turn.origin.temperature for turn in turns} == {1.0}
    written = [one for one in dataset.examples() if one.origin.source == "written"]
    ended = [turn for turn in turns if turn.answer[-1] == 0]
    assert 0 < len(written) <= len(ended)
    assert {one.origin.temperature for one in written} == {0.0}


def test_recorded_rounds_are_scored(config: CollectConfig, tmp_path: Path) -> None:
    recorded = tmp_path / "live.jsonl"
    lines = [
        {"prompt": [5, 6, 7], "answer": [8, 9, 10], "rejected": [[1, 11]], "client": "edge-1"},
        {"prompt": [5], "answer": [9]},
    ]
    recorded.write_text("\n".join(map(json.dumps, lines)))
    config = replace(config, prompts=(), recorded=(str(recorded),))
    dataset = Collector(config).run(silent)
    first, second = dataset.examples()
    assert first.answer.tolist() == [8, 9, 10]
    assert first.top_tokens.shape == (3, 4)
    assert [(one.place, one.token) for one in first.rejected] == [(1, 11)]
    assert (first.origin.source, second.origin.source) == ("edge-1", "live")
    assert Collector(config).run(silent).num_answers == 2


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "line 1: expected 'prompt' and 'answer' in tokens"),
        ('{"prompt": [1]}', "line 1: expected 'prompt' and 'answer' in tokens"),
        ('{"prompt": [], "answer": [1]}', "line 1: expected tokens from 0 to 319"),
        ('{"prompt": [1], "answer": [320]}', "line 1: expected tokens from 0 to 319"),
        ('{"prompt": [1], "answer": [1], "rejected": [[1, 2]]}', "line 1: a rejected token stands beyond the answer"),
    ],
)
def test_broken_recording_is_refused(config: CollectConfig, tmp_path: Path, line: str, complaint: str) -> None:
    recorded = tmp_path / "live.jsonl"
    recorded.write_text(line)
    with pytest.raises(DataError, match=complaint):
        Collector(replace(config, prompts=(), recorded=(str(recorded),))).run(silent)


@pytest.mark.parametrize("values", [{"out": ""}, {"prompts": ()}, {"temperatures": (0.0,)}, {"top_k": 0}])
def test_config_that_cannot_be_is_refused(config: CollectConfig, values: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        replace(config, **values)  # type: ignore[arg-type]


def test_more_probabilities_than_tokens_are_refused(config: CollectConfig) -> None:
    with pytest.raises(ConfigError, match="top_k is 999, the vocabulary has 320 tokens"):
        Collector(replace(config, top_k=999))

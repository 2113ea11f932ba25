"""Constrained streams of the torch engine: ragged batches, windows 0 to 8 and chunks write the constrained text."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from goodspeed.decoding.constraint import Constraint, ConstraintKind
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.calibration import Calibration
from goodspeed.engine.grammar.constrained_engine import ConstrainedDraftEngine
from goodspeed.engine.hybrid import DraftKnowledge, HybridDraft
from goodspeed.engine.lookup import LookupSource
from goodspeed.engine.null_draft import NullDraft
from goodspeed.engine.reference import ReferenceRequest
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.torch.loading import load_target
from goodspeed.engine.torch.target import TorchTarget
from goodspeed.lossless.pair import DraftSchedule, EnginePair
from goodspeed.models.tokenizer import Tokenizer

SCHEMA = {
    "type": "object",
    "properties": {"the name": {"type": "string", "maxLength": 5}, "kind": {"enum": ["yes", "no"]}},
    "required": ["the name", "kind"],
    "additionalProperties": False,
}
CONSTRAINTS = [
    Constraint(ConstraintKind.JSON_SCHEMA, json.dumps(SCHEMA)),
    Constraint(ConstraintKind.REGEX, "(yes|no), the quick brown fox jumps over [a-z]{1,4}"),
    None,
]


@pytest.fixture(scope="module")
def folder(random_checkpoint: Callable[..., Path]) -> Path:
    return random_checkpoint("qwen3")


@pytest.fixture(scope="module")
def target(folder: Path) -> TorchTarget:
    return load_target(TargetConfig(model=str(folder), dtype="fp32", device="cpu", threads=1, kv_memory_mb=4))


def requests_of(target: TorchTarget) -> list[ReferenceRequest]:
    requests = []
    for i in range(12):
        free = Sampling() if i % 2 else Sampling(0.9, top_p=0.95, seed=i, rule=Rule.COUPLED)
        sampling = replace(free, constraint=CONSTRAINTS[i % 3])
        max_tokens = 180 if sampling.constraint else 40
        requests.append(ReferenceRequest(tuple(range(3 + i, 20 + i)), max_tokens, sampling, target.info.end_tokens))
    return requests


def test_texts_are_those_without_drafts_in_ragged_batches(target: TorchTarget, folder: Path) -> None:
    assert target.grammars is not None
    tokenizer, requests = Tokenizer.load(folder), requests_of(target)
    expected = [text.tokens for text in EnginePair(target, NullDraft()).generate_baseline(requests)]
    for tokens, request in zip(expected, requests, strict=True):
        if request.sampling.constraint is CONSTRAINTS[0]:
            assert tokens[-1] in target.info.end_tokens
            assert set(json.loads(tokenizer.decode(tokens))) == {"the name", "kind"}
    for engine in (NullDraft(), HybridDraft(DraftKnowledge([LookupSource()], Calibration()))):
        drafts = ConstrainedDraftEngine(engine, target.grammars)
        schedule = DraftSchedule((0, 1, 2, 3, 4, 5, 6, 7, 8), max_streams=5)
        texts = EnginePair(target, drafts).generate(requests, schedule)
        assert [text.tokens for text in texts] == expected
        assert sum(text.num_accepted for text in texts) > 50

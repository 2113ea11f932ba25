"""Every draft engine keeps the seam's promises; those that need no PyTorch do not import it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.engine.continued_drafts import (
    check_a_draft_in_pieces_is_the_whole,
    check_after_is_like_a_longer_prefix,
    check_commit_leaves_no_trace,
    check_commit_of_a_continued_draft,
)

from goodspeed.config import from_mapping
from goodspeed.decoding.draft import Draft, DraftRequest
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.draft_memory import DraftMemory
from goodspeed.engine.drafts import DRAFT_ENGINES, DraftConfig, draft_engine, save_memory, transfer_learned_state
from goodspeed.engine.interface import DraftEngine
from goodspeed.engine.ngram_table import NGramTable
from goodspeed.engine.shipped_table import PATTERN, shipped_table
from goodspeed.errors import CheckpointError, ConfigError
from goodspeed.models.catalog import SHIPPED_TABLES

VOCAB_SIZE = 259
LIGHT = ("hybrid", "lookup", "table", "toy", "none")
PROMPT = [int(token) for token in np.random.default_rng(0).integers(97, 103, 60)]
SAMPLINGS = [
    Sampling(),
    Sampling(temperature=0.7, seed=3, rule=Rule.COUPLED),
    Sampling(temperature=1.0, seed=3, rule=Rule.REJECTION),
]


@pytest.fixture(params=LIGHT)
def engine(request: pytest.FixtureRequest) -> DraftEngine:
    return draft_engine(DraftConfig(engine=request.param), VOCAB_SIZE)


def check(draft: Draft, request: DraftRequest) -> None:
    assert len(draft.tokens) <= request.max_tokens
    assert len(draft.confidences) == len(draft.tokens)
    assert len(draft.draft_probs) in {0, len(draft.tokens)}
    assert all(0 <= token < VOCAB_SIZE for token in draft.tokens)
    assert all(0.0 <= confidence <= 1.0 for confidence in draft.confidences)
    assert np.prod(draft.confidences) >= request.min_survival
    for probs, token in zip(draft.draft_probs, draft.tokens, strict=False):
        assert token in probs.token_ids


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=lambda sampling: sampling.rule.name)
def test_drafts_are_within_the_requested_limits(engine: DraftEngine, sampling: Sampling) -> None:
    rng = np.random.default_rng(1)
    for stream in range(3):
        engine.open(stream, PROMPT[: 20 + stream], sampling)
    for _ in range(20):
        requests = [
            DraftRequest(stream, int(rng.integers(0, 9)), float(rng.choice([0, 0.1, 0.6]))) for stream in range(3)
        ]
        drafts = engine.draft(requests)
        assert len(drafts) == len(requests)
        for draft, request in zip(drafts, requests, strict=True):
            check(draft, request)
            num_accepted = int(rng.integers(0, len(draft.tokens) + 1))
            engine.commit(request.stream, [*draft.tokens[:num_accepted], int(rng.integers(97, 103))])
    for stream in range(3):
        engine.close(stream)


def test_drafting_twice_gives_the_same_draft(engine: DraftEngine) -> None:
    engine.open(1, PROMPT, Sampling())
    request = DraftRequest(1, 6)
    assert engine.draft([request]) == engine.draft([request])


def test_shorter_draft_is_a_prefix_of_the_longer_one(engine: DraftEngine) -> None:
    engine.open(1, PROMPT, Sampling())
    long = engine.draft([DraftRequest(1, 6)])[0]
    short = engine.draft([DraftRequest(1, 2)])[0]
    assert short.tokens == long.tokens[:2]


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=lambda sampling: sampling.rule.name)
def test_after_is_drafted_on_as_if_committed(engine: DraftEngine, sampling: Sampling) -> None:
    engine.open(2, PROMPT[:20], sampling)
    engine.commit(2, PROMPT[20:])  # the table has learned something
    engine.draft([DraftRequest(2, 4)])
    check_after_is_like_a_longer_prefix(engine, PROMPT[:40], sampling, PROMPT[25:27])
    check_a_draft_in_pieces_is_the_whole(engine, PROMPT[:40], sampling)


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=lambda sampling: sampling.rule.name)
def test_continued_draft_is_dropped_by_a_commit_of_other_tokens(engine: DraftEngine, sampling: Sampling) -> None:
    check_commit_leaves_no_trace(engine, PROMPT[:40], sampling, PROMPT[25:28])


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=lambda sampling: sampling.rule.name)
def test_continued_draft_is_committed_in_parts(engine: DraftEngine, sampling: Sampling) -> None:
    check_commit_of_a_continued_draft(engine, PROMPT[:40], sampling)


def test_resumed_stream_drafts_as_if_it_had_never_stopped() -> None:
    """Prompt lookup and toy know nothing but the prefix; the table's knowledge of the answer is a head start."""
    for name in ("lookup", "toy"):
        engine = draft_engine(DraftConfig(engine=name), VOCAB_SIZE)
        engine.open(1, PROMPT[:30], Sampling())
        engine.commit(1, PROMPT[30:])
        engine.open(2, PROMPT, Sampling())
        there, here = engine.draft([DraftRequest(1, 5), DraftRequest(2, 5)])
        assert there.tokens == here.tokens


def test_a_stream_drafts_the_same_in_any_batch() -> None:
    single, batched = (draft_engine(DraftConfig(), VOCAB_SIZE) for _ in range(2))
    for engine in (single, batched):
        engine.open(1, PROMPT, Sampling())
        engine.open(2, PROMPT[::-1], Sampling())
    both = batched.draft([DraftRequest(2, 4), DraftRequest(1, 6)])
    assert single.draft([DraftRequest(1, 6)]) == both[1:]


def test_learned_state_survives_a_restart(tmp_path: Path) -> None:
    config = DraftConfig(memory=str(tmp_path / "memory.npz"), table_slots=64)
    first = draft_engine(config, VOCAB_SIZE)
    first.open(1, [1, 2], Sampling())
    first.commit(1, [3, 4, 5, 6])
    first.close(1)
    save_memory(first, config, VOCAB_SIZE)
    second = draft_engine(config, VOCAB_SIZE)
    second.open(1, [9, 2, 3], Sampling())
    assert second.draft([DraftRequest(1, 3)])[0].tokens == (4, 5, 6)


def toy_table(path: Path, tokenizer: str = "abc") -> Path:
    table = NGramTable(64)
    table.learn([2, 3, 4, 5, 6], 0)
    DraftMemory(table, VOCAB_SIZE, tokenizer).save(path)
    return path


def drafted(engine: DraftEngine) -> tuple[int, ...]:
    engine.open(1, [9, 2, 3], Sampling())
    return engine.draft([DraftRequest(1, 3)])[0].tokens


def test_hybrid_starts_from_the_table_file(tmp_path: Path) -> None:
    config = DraftConfig(table=str(toy_table(tmp_path / "toy.npz")))
    assert drafted(draft_engine(config, VOCAB_SIZE, "abc")) == (4, 5, 6)
    with pytest.raises(CheckpointError, match="for the tokenizer abc, the target has xyz"):
        draft_engine(config, VOCAB_SIZE, "xyz")


def test_memory_file_has_precedence_over_the_initial_table(tmp_path: Path) -> None:
    memory = toy_table(tmp_path / "memory.npz")
    config = DraftConfig(memory=str(memory), table=str(tmp_path / "nowhere.npz"))
    assert drafted(draft_engine(config, VOCAB_SIZE)) == (4, 5, 6)


def test_shipped_table_is_found_by_its_tokenizer(tmp_path: Path) -> None:
    toy_table(tmp_path / "a.table.npz", "other")
    path = toy_table(tmp_path / "b.table.npz", "abc")
    assert shipped_table("abc", tmp_path) == path
    assert shipped_table("xyz", tmp_path) is None
    assert shipped_table("", tmp_path) is None


@pytest.mark.parametrize("path", sorted(SHIPPED_TABLES.glob(PATTERN)), ids=lambda path: path.name)
def test_table_that_is_shipped_is_whole(path: Path) -> None:
    memory = DraftMemory.load(path, 49_152)
    assert memory.tokenizer
    assert shipped_table(memory.tokenizer) == path
    assert memory.table.num_used > 100_000
    assert len(memory.calibrations["hybrid"]) > 100


def test_unknown_tokenizer_starts_with_an_empty_table() -> None:
    assert drafted(draft_engine(DraftConfig(), VOCAB_SIZE, "no such tokenizer")) == ()


def test_learned_state_is_transferred() -> None:
    learned, fresh = draft_engine(DraftConfig(), VOCAB_SIZE), draft_engine(DraftConfig(), VOCAB_SIZE)
    learned.open(1, [1, 2], Sampling())
    learned.commit(1, [3, 4, 5, 6])
    learned.close(1)
    transfer_learned_state(learned, fresh)
    assert drafted(fresh) == (4, 5, 6)
    transfer_learned_state(learned, draft_engine(DraftConfig(engine="toy"), VOCAB_SIZE))  # which has nothing to take it


def test_nothing_is_written_without_a_memory_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_memory(draft_engine(DraftConfig(), VOCAB_SIZE), DraftConfig(), VOCAB_SIZE)
    assert list(tmp_path.iterdir()) == []


def test_unknown_engine_is_named() -> None:
    with pytest.raises(ConfigError, match=r"engine is 'hybird', expected one of .*; did you mean 'hybrid'"):
        draft_engine(DraftConfig(engine="hybird"), VOCAB_SIZE)


@pytest.mark.parametrize(("key", "value"), [("acceptance_rate", 1.5), ("table_slots", 3), ("threads", 0)])
def test_value_out_of_range_is_named(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{key} is {value}"):
        from_mapping(DraftConfig, {key: value})


def test_every_engine_is_under_test() -> None:
    assert set(LIGHT) | {"torch", "shaped", "llama_cpp"} == set(DRAFT_ENGINES)  # tests/engine/torch, llama_cpp


def test_light_engines_do_not_import_torch() -> None:
    program = f"""
import sys
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.interface import DraftRequest
from goodspeed.engine.drafts import DraftConfig, draft_engine
for name in {LIGHT!r}:
    engine = draft_engine(DraftConfig(engine=name), {VOCAB_SIZE})
    engine.open(1, [1, 2, 3, 1, 2], Sampling())
    engine.draft([DraftRequest(1, 4)])
    engine.commit(1, [3])
heavy = sorted({{"torch", "transformers", "safetensors", "gguf"}} & set(sys.modules))
sys.exit(f"imported {{heavy}}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

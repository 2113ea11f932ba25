"""The drafts in the package: they fit their target, unpack to what every engine loads, and are small."""

from pathlib import Path

import pytest

from goodspeed.decoding.draft import DraftRequest
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.drafts import DraftConfig, draft_engine
from goodspeed.models.catalog import SHIPPED_DRAFTS, SHIPPED_TABLES, list_models, locate, locate_tokenizer
from goodspeed.models.checkpoint import read_config
from goodspeed.models.draft_vocab import read_draft_vocab
from goodspeed.models.packing import unpack_draft
from goodspeed.models.tokenizer import Tokenizer


def test_all_of_them_together_are_small() -> None:
    files = {file.path() for draft in SHIPPED_DRAFTS.values() for file in (draft.file, draft.embedding)}
    assert sum(path.stat().st_size for path in [*files, *SHIPPED_TABLES.iterdir()]) < 40e6


def test_smallest_costs_a_tenth_of_its_target_a_token() -> None:
    """Weights that a token's pass multiplies with: layers and head; the target's head is its embedding."""
    target = read_config(locate("smollm2-135m-instruct"))
    of_target = target.num_layers * 3_539_520 + target.vocab_size * target.hidden_size
    counts = []
    for draft in SHIPPED_DRAFTS.values():
        packed = unpack_draft(draft.file.path())
        counts.append(sum(weight.numel() for weight in packed.weights.values()))
    assert min(counts) < of_target / 10 < max(counts)


@pytest.mark.parametrize("name", SHIPPED_DRAFTS)
def test_it_unpacks_and_continues_a_sentence(name: str) -> None:
    folder = locate(name)
    assert folder in [listing.folder for listing in list_models() if listing.name == name]
    target = Tokenizer.load(Path(locate_tokenizer(SHIPPED_DRAFTS[name].target)))
    assert Tokenizer.load(folder).fingerprint == target.fingerprint
    kept = read_draft_vocab(folder, read_config(folder).vocab_size)
    assert kept is not None
    engine = draft_engine(DraftConfig(engine="torch", model=name, kv_memory_mb=8), target.vocab_size)
    prompt = target.encode_chat([{"role": "user", "content": "What is the capital of France?"}])
    engine.open(1, [*prompt, *target.encode("The capital")], Sampling())
    drafted = engine.draft([DraftRequest(1, 4)])[0].tokens
    assert set(drafted) <= set(kept.tolist())
    assert target.decode(drafted).startswith(" of")

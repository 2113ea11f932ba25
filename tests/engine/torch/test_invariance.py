"""A row of logits keeps its bits whatever shares its batch, however its context came into the cache."""

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch

from goodspeed.engine.block_table import BlockTable
from goodspeed.engine.torch.attention import Attention
from goodspeed.engine.torch.decoder import Decoder, Segment
from goodspeed.engine.torch.invariance import (
    is_batch_invariant,
    numerics_fingerprint,
    thread_counts_with_same_bits,
)
from goodspeed.engine.torch.kv import BLOCK, KvPool
from goodspeed.models.catalog import locate
from goodspeed.models.checkpoint import read_config, read_weights

DTYPES = [torch.float32, torch.bfloat16]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def small(random_checkpoint: Callable[..., Path]) -> Path:
    return random_checkpoint("llama", max_position_embeddings=2048)


def make_decoder(folder: Path, dtype: torch.dtype) -> Decoder:
    torch.set_num_threads(2)
    return Decoder(read_weights(folder), read_config(folder), dtype, CPU)


def some_tokens(decoder: Decoder, length: int) -> list[int]:
    return torch.randint(decoder.config.vocab_size, (length,), generator=torch.Generator().manual_seed(1)).tolist()


def logits_of(decoder: Decoder, tokens: Sequence[int], chunks: Iterator[int], num_others: int) -> torch.Tensor:
    """[tokens, vocab]: computed in such chunks, each batched with ragged pieces of other streams."""
    rng = random.Random(2)
    pool = KvPool(decoder.config, len(tokens) + (300 + BLOCK) * num_others, decoder.dtype, decoder.device)
    others = [pool.reserve(300) for _ in range(num_others)]
    own, rows, start = pool.reserve(len(tokens)), [], 0
    while start < len(tokens):
        chunk = tokens[start : start + next(chunks)]
        before, after = _ragged(others, tokens, rng), _ragged(others, tokens, rng)
        segments = [*before, Segment(chunk, own, start, len(chunk)), *after]
        skipped = sum(one.num_logits for one in before)
        rows.append(decoder.forward(segments, pool)[skipped : skipped + len(chunk)])
        start += len(chunk)
    return torch.cat(rows)


def _ragged(others: Sequence[BlockTable], tokens: Sequence[int], rng: random.Random) -> list[Segment]:
    picked = rng.sample(list(others), rng.randint(0, len(others)))
    lengths = [rng.choice((1, 1, 2, 5, 9, 40)) for _ in picked]
    return [
        Segment(tokens[:length], table, rng.randint(0, 250), rng.randint(0, length))
        for table, length in zip(picked, lengths, strict=True)
    ]


def always(*sizes: int) -> Iterator[int]:
    while True:
        yield from sizes


def test_chunks_windows_and_company_do_not_change_a_bit(small: Path) -> None:
    for dtype in DTYPES:
        decoder = make_decoder(small, dtype)
        tokens = some_tokens(decoder, 620)  # through five blocks of attention
        whole = logits_of(decoder, tokens, always(620), 0)
        for chunks, num_others in (((1,), 0), ((1,), 2), ((2, 5, 9), 4), ((3, 64, 17), 3), ((200,), 0), ((128,), 1)):
            assert torch.equal(logits_of(decoder, tokens, always(*chunks), num_others), whole), (dtype, chunks)


def test_the_default_model_does_not_either() -> None:
    for dtype in DTYPES:
        decoder = make_decoder(locate("smollm2-135m-instruct"), dtype)
        tokens = some_tokens(decoder, 150)
        whole = logits_of(decoder, tokens, always(150), 0)
        for chunks, num_others in (((100, 1, 1, 1, 1), 0), ((100, 1, 9, 3), 3), ((60, 31), 1)):
            assert torch.equal(logits_of(decoder, tokens, always(*chunks), num_others), whole), (dtype, chunks)


class SeesTheChunk(Attention):
    """The planted bug: how much is rounded away depends on how many tokens are computed together."""

    def __call__(self, layer: int, qkv: torch.Tensor) -> torch.Tensor:
        return super().__call__(layer, qkv) * (1 + 2**-7 * (len(qkv) > 20))


def test_the_self_check_passes_here_and_notices_a_planted_bug(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for dtype in DTYPES:
        decoder = make_decoder(small, dtype)
        assert is_batch_invariant(decoder)
        with monkeypatch.context() as patch:
            patch.setattr("goodspeed.engine.torch.decoder.Attention", SeesTheChunk)
            assert not is_batch_invariant(decoder)
        with monkeypatch.context() as patch:
            patch.setattr("goodspeed.engine.torch.invariance.Attention", SeesTheChunk)
            assert not is_batch_invariant(decoder)


class SeesThreads(Attention):
    """The planted bug: sums are divided by the number of threads."""

    def __call__(self, layer: int, qkv: torch.Tensor) -> torch.Tensor:
        return super().__call__(layer, qkv) * (1 + 2**-7 * (torch.get_num_threads() == 1))


def test_numbers_of_threads_that_change_bits_are_noticed(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for dtype in DTYPES:
        decoder = make_decoder(small, dtype)
        assert thread_counts_with_same_bits(decoder, [2, 1]) == [2, 1]
        with monkeypatch.context() as patch:
            patch.setattr("goodspeed.engine.torch.decoder.Attention", SeesThreads)
            assert thread_counts_with_same_bits(decoder, [2, 1]) == [2]
        assert torch.get_num_threads() == 2


def test_the_fingerprint_depends_on_dtype_and_weights(small: Path) -> None:
    config, weights = read_config(small), read_weights(small)
    norm = weights["model.norm.weight"].clone()
    norm[0] *= 1.01
    decoders = [
        Decoder(weights, config, torch.float32, CPU),
        Decoder(weights, config, torch.bfloat16, CPU),
        Decoder({**weights, "model.norm.weight": norm}, config, torch.float32, CPU),
    ]
    assert len({numerics_fingerprint(decoder) for decoder in decoders}) == 3
    assert numerics_fingerprint(decoders[0]) == numerics_fingerprint(make_decoder(small, torch.float32))

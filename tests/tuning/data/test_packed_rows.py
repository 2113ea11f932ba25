"""Examples are cut at the right end, packed without loss, and separated by the attention mask."""

import numpy as np
import torch

from goodspeed.tuning.data.example import Example, Origin
from goodspeed.tuning.data.packed_rows import PADDING, Cutter, batch, pack


def example(num_prompt: int, num_answer: int, seed: int = 0) -> Example:
    rng = np.random.default_rng(seed)
    answer = rng.integers(0, 50, num_answer, dtype=np.int32)
    others = rng.integers(0, 50, (num_answer, 2), dtype=np.int32)
    logprobs = np.log(np.tile(np.array([0.7, 0.2, 0.1], np.float32), (num_answer, 1))).astype(np.float16)
    top_tokens = np.concatenate((answer[:, None], others), 1)
    return Example(Origin("k", "s", ""), rng.integers(0, 50, num_prompt, dtype=np.int32), answer, top_tokens, logprobs)


def test_long_prompt_is_cut_at_its_start_and_long_answer_at_its_end() -> None:
    sample = example(30, 40)
    document = Cutter(length=32, max_prompt=10, vocab_size=50, draft_vocab=None).document(sample, None, 3, 1.0)
    assert document.num_losses == 23
    np.testing.assert_array_equal(document.tokens, np.concatenate((sample.prompt[-10:], sample.answer[:22])))
    np.testing.assert_array_equal(document.answer_rows, sample.answer[:23])
    np.testing.assert_allclose(document.top_probs[0], [0.7, 0.2, 0.1], rtol=1e-2)


def test_reduced_head_has_rows_for_kept_tokens_only() -> None:
    draft_vocab = torch.arange(10, 30)
    sample = example(3, 20)
    document = Cutter(64, 10, 50, draft_vocab).document(sample, None, 2, 1.0)
    for token, row in zip(sample.top_tokens[:, :2].ravel(), document.top_rows.ravel(), strict=True):
        assert row == (token - 10 if 10 <= token < 30 else -1)


def test_temperature_below_one_sharpens_the_distribution() -> None:
    document = Cutter(64, 10, 50, None).document(example(3, 5), None, 3, 0.5)
    np.testing.assert_allclose(document.top_probs[0], np.array([0.49, 0.04, 0.01]) / 0.54, rtol=1e-2)


def test_weights_are_cut_with_their_positions() -> None:
    weights = np.arange(20, dtype=np.float32)
    document = Cutter(16, 10, 50, None).document(example(12, 20), weights, 3, 1.0)
    np.testing.assert_array_equal(document.weights, weights[:7])


def test_packing_keeps_every_document_once_and_fills_rows() -> None:
    cutter = Cutter(128, 20, 50, None)
    documents = [cutter.document(example(10, 5 + 7 * i % 60, i), None, 3, 1.0) for i in range(50)]
    rows = list(pack(documents, 128))
    assert sorted(id(sample) for row in rows for sample in row) == sorted(map(id, documents))
    sizes = [sum(len(sample.tokens) for sample in row) for row in rows]
    assert max(sizes) <= 128
    assert sum(sizes) / (128 * len(sizes)) > 0.85


def test_documents_of_a_row_do_not_see_each_other() -> None:
    cutter = Cutter(64, 10, 50, None)
    documents = [cutter.document(example(4, 6, i), None, 3, 1.0) for i in range(3)]
    rows = batch([documents[:2], documents[2:]], 64)
    assert rows.tokens.shape == (2, 18)  # 9 tokens per document: the last token of an answer is never read
    assert rows.documents[0].tolist() == [0] * 9 + [1] * 9
    assert rows.documents[1].tolist() == [0] * 9 + [PADDING] * 9
    assert rows.positions[0].tolist() == [*range(9), *range(9)]
    assert rows.loss_positions.tolist() == [3, 4, 5, 6, 7, 8, 12, 13, 14, 15, 16, 17, 21, 22, 23, 24, 25, 26]
    mask = rows.mask(torch.float32)[0, 0]
    assert mask[10, 9] == 0
    assert mask[10, 8] == -torch.inf
    assert mask[10, 11] == -torch.inf
    assert not torch.isnan(mask.softmax(-1)).any()

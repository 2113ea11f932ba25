"""Tokenizers made from GGUF files split and merge text as llama.cpp and as the models' own files do."""

import ctypes
import importlib
import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import gguf
import pytest

from goodspeed.errors import CheckpointError
from goodspeed.models.detokenizer import BYTE_BY_CHARACTER
from goodspeed.models.gguf import GgufFile
from goodspeed.models.gguf_tokenizer import convert_tokenizer
from goodspeed.models.pre_tokenizer import PRE_TOKENIZERS
from goodspeed.models.tokenizer import Tokenizer

TEXTS = [
    "He'll say: it's 12345 o'clock, I'VE got CamelCase words & ÉCOLE.",
    "  leading, trailing  \n\n\tnew\r\nlines\n  x",
    "def f(x):\n    return x**2  # 3.14159 -> 1,000,000",
    "Zażółć gęślą jaźń; Ünïcödé, 日本語の文章 — и кириллица… 한국어 ½ ²³ 🙂👍🏽",
    "a//b\\c ... !!! ??? $100 @me #tag 'quoted' \"double\" 'S 'LL",
    " ",
    "12 345 6789 0",
]
MERGES = ["1 2", "3 4", "12 34", "' s", "Ġ t", "l l", "' ll", "Ċ Ċ", "Ġ Ġ", "ĠĠ ĠĠ", "e s", "C a", "s W", ". .", "Ã ī"]


def write_byte_level(path: Path, pre: str) -> Path:
    names = ["<|end|>", "<|start|>", *BYTE_BY_CHARACTER, *(merge.replace(" ", "") for merge in MERGES)]
    writer = _writer(path)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(names)
    writer.add_token_types([3, 3, *[1] * (len(names) - 2)])
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(False)
    return _finish(writer, path)


def write_sentencepiece(path: Path, folder: Path, *, has_space_prefix: bool = True) -> Path:
    """A file with the vocabulary of a tokenizer folder; a token's score falls with the rank of its first merge."""
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    names = sorted(model["vocab"], key=lambda name: int(model["vocab"][name]))
    ranks = {"".join(merge): rank for rank, merge in reversed(list(enumerate(model["merges"])))}
    kinds = {"<unk>": 2, "<s>": 3, "</s>": 3}
    writer = _writer(path)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(names)
    writer.add_token_scores([-float(ranks.get(name, 1000)) for name in names])
    writer.add_token_types([kinds.get(name, 6 if name.startswith("<0x") else 1) for name in names])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_space_prefix(has_space_prefix)
    return _finish(writer, path)


def _writer(path: Path) -> gguf.GGUFWriter:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(32)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-6)
    return writer


def _finish(writer: gguf.GGUFWriter, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def tokenizer_of(path: Path) -> Tokenizer:
    convert_tokenizer(path, path.parent / "tokenizer")
    return Tokenizer.load(path.parent / "tokenizer")


class LlamaVocabulary:
    """llama.cpp's own tokenizer of a GGUF file."""

    def __init__(self, path: Path) -> None:
        self._library = importlib.import_module("llama_cpp.llama_cpp")
        params = self._library.llama_model_default_params()
        params.vocab_only = True
        self._model = self._library.llama_model_load_from_file(str(path).encode(), params)
        self._vocab = self._library.llama_model_get_vocab(self._model)

    def encode(self, text: str, *, add_special: bool = False) -> Sequence[int]:
        data, tokens = text.encode(), (ctypes.c_int32 * 4096)()
        count = self._library.llama_tokenize(self._vocab, data, len(data), tokens, 4096, add_special, False)
        return list(tokens[:count])


needs_llama = pytest.mark.skipif(find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed")


@needs_llama
@pytest.mark.parametrize("pre", PRE_TOKENIZERS)
def test_byte_level_tokens_are_those_of_llama_cpp(tmp_path: Path, pre: str) -> None:
    path = write_byte_level(tmp_path / "vocab.gguf", pre)
    ours, theirs = tokenizer_of(path), LlamaVocabulary(path)
    for text in TEXTS:
        assert ours.encode(text) == theirs.encode(text), text
        assert ours.decode(ours.encode(text)) == text


@pytest.mark.parametrize(
    ("pre", "parts"),
    [
        ("gpt-2", ["It", "'s", " 1234", " CamelCase", "!", "\n\n"]),
        ("smollm", ["It", "'s", " ", "1", "2", "3", "4", " CamelCase", "!", "\n\n"]),
        ("llama-bpe", ["It", "'s", " ", "123", "4", " CamelCase", "!\n\n"]),
        ("qwen2", ["It", "'s", " ", "1", "2", "3", "4", " CamelCase", "!\n\n"]),
        ("tekken", ["It", "'s", " ", "1", "2", "3", "4", " Camel", "Case", "!\n\n"]),
        ("gpt-4o", ["It's", " ", "123", "4", " Camel", "Case", "!\n\n"]),
    ],
)
def test_text_is_split_as_the_model_splits_it(pre: str, parts: list[str]) -> None:
    text = "It's 1234 CamelCase!\n\n"
    split = PRE_TOKENIZERS[pre].splitter().pre_tokenize_str(text)
    assert [text[start:end] for _, (start, end) in split] == parts


def test_sentencepiece_vocabulary_is_read(tmp_path: Path, sentencepiece: Path) -> None:
    tokenizer = tokenizer_of(write_sentencepiece(tmp_path / "vocab.gguf", sentencepiece))
    names = json.loads((sentencepiece / "tokenizer.json").read_text())["model"]["vocab"]
    assert tokenizer.encode("ab") == [names["<s>"], names["▁ab"]]
    assert tokenizer.encode("é世 z") == [1, names["▁"], names["é"], names["世"], names["▁"], names["<0x7A>"]]
    for text in ("ab abc  é 世界", " a", "", "a\nb", "ab ab"):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.end_tokens == (names["</s>"],)


def test_merges_are_in_the_order_of_transformers(tmp_path: Path, sentencepiece: Path) -> None:
    """Fingerprints of a GGUF file and of a checkpoint of the same model are equal only then."""
    generate_merges = importlib.import_module("transformers.convert_slow_tokenizer").generate_merges
    path = write_sentencepiece(tmp_path / "vocab.gguf", sentencepiece)
    tokenizer_of(path)
    model = json.loads((tmp_path / "tokenizer" / "tokenizer.json").read_text())["model"]
    names, scores = (GgufFile(path).field(f"tokenizer.ggml.{key}") for key in ("tokens", "scores"))
    expected = generate_merges(model["vocab"], dict(zip(names, scores, strict=True)))
    assert [tuple(merge) for merge in model["merges"]] == expected


@needs_llama
@pytest.mark.parametrize("has_space_prefix", [True, False])
def test_sentencepiece_tokens_are_those_of_llama_cpp(
    tmp_path: Path, sentencepiece: Path, has_space_prefix: bool
) -> None:
    path = write_sentencepiece(tmp_path / "vocab.gguf", sentencepiece, has_space_prefix=has_space_prefix)
    ours, theirs = tokenizer_of(path), LlamaVocabulary(path)
    for text in ("ab abc  é 世界", " a", "a\nb", "ab ab", *TEXTS):
        assert ours.encode(text) == theirs.encode(text, add_special=True), text


def test_vocabulary_without_scores_is_refused(tmp_path: Path) -> None:
    writer = _writer(tmp_path / "vocab.gguf")
    writer.add_tokenizer_model("llama")
    writer.add_token_list(["<unk>", "a"])
    writer.add_token_types([2, 1])
    with pytest.raises(CheckpointError, match="2 tokens with 0 scores"):
        convert_tokenizer(_finish(writer, tmp_path / "vocab.gguf"), tmp_path / "tokenizer")

"""Tokenizers, beside what transformers makes of the same files."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import tokenizers
import transformers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers

from goodspeed.errors import CheckpointError, RequestError
from goodspeed.models.catalog import locate
from goodspeed.models.tokenizer import Tokenizer

SMOLLM = "smollm2-135m-instruct"
TEXTS = [
    "",
    " ",
    "Hello, world! It's 2024, isn't it?  Two spaces.",
    "def f(x):\n\treturn x ** 2  # 12345.678\r\n\n\n",
    "naïve café — Straße, Ελληνικά, русский, עברית, العربية",
    "日本語のテキスト。中文字符。한국어",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🇫🇷 e\u0301 \u200b\ufeff\x00",
    "<|im_start|>user\nhi<|im_end|> <|endoftext|>",
]
CHATS: list[list[dict[str, str]]] = [
    [{"role": "user", "content": "What is 12 + 30?"}],
    [
        {"role": "system", "content": "Be brief. 🦊"},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "<|im_end|> is text?"},
    ],
]


@pytest.fixture(scope="module")
def folders(sentencepiece: Path, random_checkpoint: Callable[..., Path]) -> dict[str, Path]:
    return {
        "smollm": locate(SMOLLM),
        "byte-level": random_checkpoint("llama"),
        "sentencepiece": sentencepiece,
    }


KINDS = ["smollm", "byte-level", "sentencepiece"]


@pytest.mark.parametrize("kind", KINDS)
def test_encodes_and_decodes_as_transformers_does(folders: dict[str, Path], kind: str) -> None:
    ours, theirs = Tokenizer.load(folders[kind]), transformers.AutoTokenizer.from_pretrained(folders[kind])
    for text in TEXTS:
        tokens = ours.encode(text)
        assert tokens == theirs(text).input_ids
        assert ours.decode(tokens) == theirs.decode(tokens, skip_special_tokens=True)
    assert ours.vocab_size == len(theirs)


@pytest.mark.parametrize("kind", ["smollm", "byte-level"])
@pytest.mark.parametrize("chat", CHATS)
def test_encodes_chats_as_transformers_does(folders: dict[str, Path], kind: str, chat: list[dict[str, str]]) -> None:
    theirs = transformers.AutoTokenizer.from_pretrained(folders[kind])
    expected = theirs.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
    assert Tokenizer.load(folders[kind]).encode_chat(chat) == expected


def test_text_comes_back_from_byte_level_tokens(folders: dict[str, Path]) -> None:
    tokenizer = Tokenizer.load(folders["smollm"])
    for text in TEXTS[:-1]:
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_end_tokens(folders: dict[str, Path]) -> None:
    assert {kind: Tokenizer.load(folder).end_tokens for kind, folder in folders.items()} == {
        "smollm": (2,),  # <|im_end|>
        "byte-level": (0,),
        "sentencepiece": (2,),  # from tokenizer_config.json: there is no model beside it
    }


def _streamed(tokenizer: Tokenizer, tokens: Sequence[int], sizes: Sequence[int]) -> list[str]:
    """What push and flush return when the tokens come in groups of these sizes, over and over."""
    stream, start = tokenizer.stream(), 0
    texts: list[str] = []
    while start < len(tokens):
        size = sizes[len(texts) % len(sizes)]
        texts.append(stream.push(tokens[start : start + size]))
        start += size
    return [*texts, stream.flush()]


SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=4)
MIXED_TEXT = st.text(st.one_of(st.characters(), st.sampled_from("ab c é世🦊👩‍👧🇫")), max_size=40)


@pytest.mark.parametrize("kind", KINDS)
@given(text=MIXED_TEXT, sizes=SIZES)
def test_stream_gives_the_whole_text_and_no_half_characters(
    folders: dict[str, Path], kind: str, text: str, sizes: list[int]
) -> None:
    tokenizer = _tokenizer(folders[kind])
    tokens = tokenizer.encode(text)
    texts = _streamed(tokenizer, tokens, sizes)
    assert "".join(texts) == tokenizer.decode(tokens)
    if "".join(texts) == text:  # SmolLM2 has no token for some bytes of rare characters
        assert texts[-1] == "" or kind == "sentencepiece"  # whole characters leave nothing behind


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data(), sizes=SIZES)
def test_stream_equals_decode_for_any_tokens(
    folders: dict[str, Path], kind: str, data: st.DataObject, sizes: list[int]
) -> None:
    tokenizer = _tokenizer(folders[kind])
    # The first 300 tokens are special ones and single bytes: broken UTF-8 of every sort.
    token = st.one_of(st.integers(0, min(300, tokenizer.vocab_size - 1)), st.integers(0, tokenizer.vocab_size + 5))
    tokens = data.draw(st.lists(token, max_size=30))
    assert "".join(_streamed(tokenizer, tokens, sizes)) == tokenizer.decode(tokens)


LOADED: dict[Path, Tokenizer] = {}


def _tokenizer(folder: Path) -> Tokenizer:
    """Loaded once, for tests with many examples."""
    if folder not in LOADED:
        LOADED[folder] = Tokenizer.load(folder)
    return LOADED[folder]


@pytest.mark.parametrize("kind", KINDS)
@given(text=MIXED_TEXT)
def test_lower_bound_of_the_number_of_tokens(folders: dict[str, Path], kind: str, text: str) -> None:
    tokenizer = _tokenizer(folders[kind])
    if tokenizer.decode(tokenizer.encode(text)) == text:  # no byte is without a token
        assert tokenizer.min_tokens(text) <= len(tokenizer.encode(text))
    assert tokenizer.min_tokens("word " * 1000) >= 5


def test_character_of_several_tokens_comes_with_its_last_byte(folders: dict[str, Path]) -> None:
    tokenizer = Tokenizer.load(folders["byte-level"])
    stream = tokenizer.stream()
    assert [stream.push([token]) for token in tokenizer.encode("🦊")] == ["", "", "", "🦊"]


def test_half_a_character_at_the_end_is_replaced(folders: dict[str, Path]) -> None:
    tokenizer = Tokenizer.load(folders["byte-level"])
    stream = tokenizer.stream()
    assert stream.push(tokenizer.encode("a🦊")[:-1]) == "a"
    assert stream.flush() == "\ufffd"


def test_special_tokens_have_no_text(folders: dict[str, Path]) -> None:
    tokenizer = Tokenizer.load(folders["smollm"])
    tokens = tokenizer.encode("<|im_start|>a<|im_end|>")
    assert len(tokens) == 3
    assert tokenizer.decode(tokens) == "a"
    assert "".join(_streamed(tokenizer, tokens, [1])) == "a"


def test_fingerprint_survives_saving_by_transformers(folders: dict[str, Path], tmp_path: Path) -> None:
    for kind, folder in folders.items():
        transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path / kind)
        assert Tokenizer.load(tmp_path / kind).fingerprint == Tokenizer.load(folder).fingerprint


def test_fingerprint_of_the_default_model() -> None:
    assert Tokenizer.load(locate(SMOLLM)).fingerprint == "4bf6b6f85ebbab87"


def _edit(source: Path, folder: Path, edit: Callable[[dict[str, object]], None]) -> Path:
    shutil.copytree(source, folder)
    values = json.loads((folder / "tokenizer.json").read_text())
    edit(values)
    (folder / "tokenizer.json").write_text(json.dumps(values))
    return folder


def _rename_special(values: dict[str, object]) -> None:
    text = json.dumps(values).replace("<|end|>", "<|stop|>")
    values.update(json.loads(text))


def _swap_words(values: dict[str, object]) -> None:
    model = values["model"]
    assert isinstance(model, dict)
    model["vocab"]["a"], model["vocab"]["b"] = model["vocab"]["b"], model["vocab"]["a"]


def _drop_merge(values: dict[str, object]) -> None:
    model = values["model"]
    assert isinstance(model, dict)
    model["merges"].pop()


def _make_plain(values: dict[str, object]) -> None:
    added = values["added_tokens"]
    assert isinstance(added, list)
    added[0]["special"] = False


def _join_merges(values: dict[str, object]) -> None:
    model = values["model"]
    assert isinstance(model, dict)
    model["merges"] = [" ".join(merge) for merge in model["merges"]]


@pytest.mark.parametrize("edit", [_rename_special, _swap_words, _drop_merge, _make_plain])
def test_fingerprint_changes_with_everything_that_changes_the_text(
    folders: dict[str, Path], tmp_path: Path, edit: Callable[[dict[str, object]], None]
) -> None:
    original = folders["byte-level"]
    changed = _edit(original, tmp_path / "changed", edit)
    assert Tokenizer.load(changed).fingerprint != Tokenizer.load(original).fingerprint


def test_fingerprint_does_not_depend_on_how_merges_are_written(folders: dict[str, Path], tmp_path: Path) -> None:
    original = folders["byte-level"]
    old_form = _edit(original, tmp_path / "old", _join_merges)
    assert Tokenizer.load(old_form).fingerprint == Tokenizer.load(original).fingerprint


def test_missing_or_broken_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"tokenizer.json is missing in"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"model": 5}')
    with pytest.raises(CheckpointError, match=r"cannot read .*tokenizer.json"):
        Tokenizer.load(tmp_path)


def test_decoder_that_cannot_be_streamed_is_refused(tmp_path: Path) -> None:
    tokenizer = tokenizers.Tokenizer(models.WordPiece({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(CheckpointError, match="decoder is WordPiece, supported are ByteLevel and"):
        Tokenizer.load(tmp_path)


def test_byte_level_vocabulary_with_another_decoder_is_decoded_as_bytes(
    folders: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """mlx-lm#1329: tekken tokenizers have SentencePiece's decoder, which leaves "Ġ" for every space."""

    def change(values: dict[str, object]) -> None:
        steps = json.loads((folders["sentencepiece"] / "tokenizer.json").read_text())["decoder"]
        values["decoder"] = steps

    tokenizer = Tokenizer.load(_edit(folders["byte-level"], tmp_path / "hybrid", change))
    tokens = tokenizer.encode(" a fox 🦊")
    assert tokenizer.decode(tokens) == "".join(_streamed(tokenizer, tokens, [1])) == " a fox 🦊"
    assert "the pre-tokenizer is ByteLevel but the decoder is another" in caplog.text


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_git_lfs_pointer_is_named(folders: dict[str, Path], tmp_path: Path, name: str) -> None:
    shutil.copytree(folders["byte-level"], tmp_path / "clone")
    (tmp_path / "clone" / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(CheckpointError, match=f"{name}: it is a Git LFS pointer"):
        Tokenizer.load(tmp_path / "clone")


def test_model_without_a_chat_template_refuses_chats(folders: dict[str, Path]) -> None:
    with pytest.raises(RequestError, match="no chat template") as caught:
        Tokenizer.load(folders["sentencepiece"]).encode_chat(CHATS[0])
    assert caught.value.field == "messages"


def test_half_a_surrogate_pair_is_the_requests_fault(folders: dict[str, Path]) -> None:
    tokenizer = Tokenizer.load(folders["smollm"])
    with pytest.raises(RequestError, match=r"prompt holds '\\ud83e', which is not a character"):
        tokenizer.encode("fox \ud83e!")
    with pytest.raises(RequestError, match="messages holds") as caught:
        tokenizer.encode_chat([{"role": "user", "content": "\ud83e"}])
    assert caught.value.field == "messages"

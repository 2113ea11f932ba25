"""Creates tokenizer.json and tokenizer_config.json from the vocabulary in a GGUF file."""

from dataclasses import dataclass
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors

from goodspeed.errors import CheckpointError
from goodspeed.models.cache import fill
from goodspeed.models.folder import write_json
from goodspeed.models.gguf import GgufFile

CONTROL, USER_DEFINED = 3, 4  # llama.cpp's token types
NAMED = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}


def convert_tokenizer(path: Path, folder: Path) -> None:
    """Create `folder` atomically with only the tokenizer of a GGUF file. Raises CheckpointError."""
    file = GgufFile(path)
    fill(folder, lambda empty: write_tokenizer(file, empty))


def write_tokenizer(file: GgufFile, folder: Path) -> None:
    """Write the tokenizer's files; transformers can load them. Raises CheckpointError for an unsupported kind."""
    vocabulary = _read_vocabulary(file)
    _tokenizer(file, vocabulary).save(str(folder / "tokenizer.json"))
    config: dict[str, object] = {
        "tokenizer_class": "PreTrainedTokenizerFast",  # use tokenizer.json without changes
        "clean_up_tokenization_spaces": False,
        "model_max_length": file.max_context,
    }
    for name, key in NAMED.items():
        if file.field(f"tokenizer.ggml.{key}_token_id") is not None:
            config[f"{name}_token"] = vocabulary.named(file, key)
    if file.field("tokenizer.chat_template") is not None:
        config["chat_template"] = file.text("tokenizer.chat_template")
    write_json(folder / "tokenizer_config.json", config)


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    names: list[str]
    kinds: list[int]  # token type of llama.cpp for each name
    merges: list[tuple[str, str]]

    def named(self, file: GgufFile, key: str) -> str:
        """The token that the file calls `key`, such as "bos"."""
        full_key = f"tokenizer.ggml.{key}_token_id"
        token = file.integer(full_key)
        if token >= len(self.names):
            raise CheckpointError(f"{file.path}: {full_key} is {token}, expected less than {len(self.names)}")
        return self.names[token]


def _read_vocabulary(file: GgufFile) -> _Vocabulary:
    if (model := file.text("tokenizer.ggml.model", "none")) != "gpt2":
        raise CheckpointError(f"{file.path}: tokenizer is {model!r}, supported is 'gpt2' (byte-level BPE)")
    names, kinds, merges = (file.field(f"tokenizer.ggml.{key}") or [] for key in ("tokens", "token_type", "merges"))
    if not names or len(kinds) != len(names):
        raise CheckpointError(f"{file.path}: {len(names)} tokens with {len(kinds)} types, expected one type each")
    return _Vocabulary(names, kinds, [(left, right) for left, _, right in (merge.partition(" ") for merge in merges)])


def _tokenizer(file: GgufFile, vocabulary: _Vocabulary) -> tokenizers.Tokenizer:
    ids = {name: token for token, name in enumerate(vocabulary.names)}
    try:
        tokenizer = tokenizers.Tokenizer(models.BPE(ids, vocabulary.merges))
    except Exception as error:
        raise CheckpointError(f"{file.path}: {error}") from error
    tokenizer.pre_tokenizer = _pre_tokenizer(file)
    tokenizer.decoder = decoders.ByteLevel()
    _add_tokens(tokenizer, vocabulary)
    if file.field("tokenizer.ggml.add_bos_token"):
        bos = vocabulary.named(file, "bos")
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, ids[bos])]
        )
    return tokenizer


def _pre_tokenizer(file: GgufFile) -> pre_tokenizers.PreTokenizer:
    """How text is split before merging; GGUF names a method after the first model that used it."""
    kind = file.text("tokenizer.ggml.pre", "gpt-2")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if kind == "gpt-2":
        return byte_level
    if kind == "smollm":
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level])
    raise CheckpointError(f"{file.path}: pre-tokenizer is {kind!r}, supported are 'smollm', 'gpt-2'")


def _add_tokens(tokenizer: tokenizers.Tokenizer, vocabulary: _Vocabulary) -> None:
    """Add the tokens that are matched in text before the split, in the order of their ids."""
    for name, kind in zip(vocabulary.names, vocabulary.kinds, strict=True):
        if kind == CONTROL:
            tokenizer.add_special_tokens([tokenizers.AddedToken(name, special=True, normalized=False)])
        elif kind == USER_DEFINED:
            tokenizer.add_tokens([tokenizers.AddedToken(name, special=False, normalized=False)])
